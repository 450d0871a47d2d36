"""Node health as one page: a file that opens anywhere, without a network.

`komos_source.analytics.findings` reads the data, `komos_source.analytics.formatting` and `charts`
turn it into text and drawings, and `page` fills in the template. The charts are SVG and HTML made
here, with a little inline JavaScript for filters and details: the page can be printed, and read
without scripts. A chart library would have to be inlined into every page (Vega: about 1 MB) and
would not print better.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from komos_source.analytics.database import Database
from komos_source.analytics.file_copy import copy_access
from komos_source.exceptions import UsageError
from komos_source.extras import requires_extra


def write_report(
    database: Database,
    out: Path,
    *,
    days: int = 28,
    time_zone: str | None = None,
    new_since: str | None = None,
) -> None:
    """Writes the page. The file is readable by its owner only, unless it replaces a shared one.

    The page quotes log entries, which may hold personal data, so sharing it is left to the reader.
    A file that is replaced keeps its permissions, and is complete at any moment.

    Args:
        database: Where to read.
        out: The file to write or to replace.
        days: Number of days, ending at that of the newest finished run; at least 16, as the last 2
            are compared with the 14 before. Days before the first run are left out.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.
        new_since: ISO 8601 date or time since when a message counts as new; the last 2 days if
            None.

    Raises:
        ConfigurationError: The extra ``analysis`` is not installed.
        UsageError: The file cannot be written, or there is no such time.
        LockedError: Another process kept the DuckDB file open.
        DestinationError: There is no finished run, or the database cannot be read.
    """
    with requires_extra("analysis", "reports"):
        from komos_source.analytics.findings import read_findings
        from komos_source.report.page import render

    page = render(read_findings(database, days, time_zone, new_since))
    try:
        _replace(out, page)
    except OSError as error:
        raise UsageError(f"the report cannot be written to {out}: {error.strerror}") from error


def _replace(file: Path, text: str) -> None:
    """Replaces a file as a whole: a reader, or a crash, never meets half a page.

    A symbolic link or a device of that name is not written through: in a directory that others can
    write to it may lead anywhere.
    """
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise UsageError(
            f"the report cannot be written to {file}: it is a link, a directory or a device. Name "
            "an ordinary file."
        )
    with NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=".komos-report-", delete=False
    ) as temporary:
        try:
            temporary.write(text)
            temporary.flush()
            if file.exists():
                copy_access(file, Path(temporary.name))
            os.replace(temporary.name, file)
        except BaseException:
            os.unlink(temporary.name)
            raise
