{# Refuses models in the schema of the dataset, where they would replace the views of `komos load`. #}
{% macro check_schema() %}
  {% if execute %}
    {% set dataset = graph.sources.values()
      | selectattr("package_name", "equalto", "komos") | first %}
    {% for model in graph.nodes.values()
      if model.package_name == "komos" and model.resource_type == "model"
      and (model.database, model.schema) == (dataset.database, dataset.schema) %}
      {{ exceptions.raise_compiler_error(
        "the model " ~ model.name ~ " would be written into the schema " ~ dataset.schema
        ~ ", which `komos load` fills. Use another schema in profiles.yml."
      ) }}
    {% endfor %}
  {% endif %}
{% endmacro %}
