"""dlt destinations, configured for this source.

`adapt_to_destination` is for programs that load files (Delta, Iceberg, Parquet) in their own
pipeline; the rest is used by `komos_source.load`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from komos_source.destinations.write_disposition import (
        adapt_to_destination as adapt_to_destination,
    )

__all__ = ["adapt_to_destination"]


def __getattr__(name: str) -> Any:
    if name == "adapt_to_destination":
        from komos_source.destinations.write_disposition import adapt_to_destination

        return adapt_to_destination
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
