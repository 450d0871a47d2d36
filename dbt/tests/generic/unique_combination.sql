{# Fails for values of several columns together that are in more than one row. #}
{% test unique_combination(model, columns) %}
SELECT {{ columns | join(", ") }}, COUNT(*) AS found
FROM {{ model }}
GROUP BY {{ columns | join(", ") }}
HAVING COUNT(*) > 1
{% endtest %}
