"""Links to the pages of runs in Komos."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from komos_source.config import Setting
from komos_source.exceptions import ConfigurationError
from komos_source.settings import API_PREFIX

RUN_URL = Setting(
    "run_url",
    "Address of the page of a run in Komos, with `{run_id}` in it, for links in alerts and in the "
    "report. Without it, an address that the API gives is used if it is that of a page.",
)


def run_link(run_id: str, logs_url: str | None) -> str | None:
    """The page of a run, for a person with a browser.

    Args:
        run_id: The run.
        logs_url: The ``logsUrl`` that the API gives. One that is relative, or an endpoint of the
            API, is no page: without a key it shows an error.

    Returns:
        The link; None if no page is known.

    Raises:
        ConfigurationError: The setting ``run_url`` is no address with ``{run_id}``.
    """
    if configured := str(RUN_URL.value() or ""):
        if not _is_page(configured) or "{run_id}" not in configured:
            raise ConfigurationError(
                "SOURCES__KOMOS__RUN_URL must be an http or https URL with {run_id} in it"
            )
        return configured.replace("{run_id}", quote(run_id, safe=""))
    return logs_url if logs_url and _is_page(logs_url) else None


def _is_page(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_web = parts.scheme in {"http", "https"} and bool(parts.hostname)
    return is_web and not parts.path.startswith(f"{API_PREFIX}/")
