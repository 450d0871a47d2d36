"""Loads what is new from Komos. Needs sources.komos.api_key in .dlt/secrets.toml."""

import dlt
from komos import komos_source


def load() -> None:
    """Loads tasks, their runs, and the logs of these runs, each entry once."""
    pipeline = dlt.pipeline(
        pipeline_name="komos_pipeline", destination="duckdb", dataset_name="komos"
    )
    print(pipeline.run(komos_source()))


if __name__ == "__main__":
    load()
