"""A dlt source for Komos: task runs and the log entries their nodes wrote.

    import dlt
    from komos_source import komos_source

    pipeline = dlt.pipeline("komos_task_run_logs", destination="duckdb", dataset_name="komos")
    pipeline.run(komos_source())

`komos_source.loading.load.load` runs the same with recovery, locking and a check that all arrived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komos_source.source import komos_source as komos_source

__version__ = "0.1.0"
__all__ = ["komos_source"]


def __getattr__(name: str) -> Any:
    # dlt takes half a second to import: not for those who only want --help.
    if name == "komos_source":
        from komos_source.source import komos_source

        return komos_source
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
