"""Node health as one page: a file that opens anywhere, without a network.

Data flows one way: `findings` asks the database, `words` and `charts` say and draw what came, and
`page` puts it together. The charts are SVG and HTML made here, with a little inline JavaScript for
filters and drill-down: the page prints, and reads without scripts. A chart library would have to be
inlined into every page (Vega: about 1 MB) and would draw nothing on paper that these lines do not.
"""

from __future__ import annotations

from pathlib import Path

from komos_source.analytics.database import Database
from komos_source.exceptions import ConfigurationError, UsageError

FILE = "komos-report.html"
DAYS = 28
MINIMUM_DAYS = 16
"""The two days that are judged and the 14 that they are held against."""


def write_report(
    history: Database, out: Path, *, days: int = DAYS, time_zone: str | None = None
) -> None:
    """Writes the page.

    Args:
        history: Where to read.
        out: The file; one that is there is replaced.
        days: How many days it is about, the last being that of the newest finished run.
        time_zone: IANA name of the time zone days are counted in; the configured one if None.

    Raises:
        ConfigurationError: The extra ``analysis`` is not installed.
        UsageError: The file cannot be written.
        LockedError: Another process kept the DuckDB file open.
    """
    try:
        from komos_source.report.page import render
    except ImportError as error:
        raise ConfigurationError(
            'the report needs jinja2: pip install "komos-source[analysis]"'
        ) from error
    from komos_source.report.findings import find

    page = render(find(history, days, time_zone))
    try:
        out.write_text(page, "utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {out}: {error.strerror}") from error
