"""Known problems, in ``komos.toml``: findings that are shown last and never sent, until an end.

[[known_problem]]
check = "regressions"          # a name of `komos health`; left out: any
task = "Order sync"            # name or id of a task; left out: any; * and ? as in file names
node = "extract_*"             # likewise
reason = "portal is being redesigned, OPS-4711"
until = 2026-12-24             # a date or a time; from then on it is a finding again
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from komos_source.exceptions import ConfigurationError
from komos_source.settings import KNOWN_PROBLEMS_FILE
from komos_source.settings_files import toml_problem

if TYPE_CHECKING:
    from komos_source.analytics.checks.result import Finding

_TABLE = "known_problem"
_OPTIONAL = ("check", "task", "node")
_EXAMPLE = 'such as reason = "portal is being redesigned" and until = 2026-12-24'


@dataclass(frozen=True, slots=True)
class KnownProblem:
    """An entry of the file.

    Attributes:
        reason: Why it is known.
        until: From then on it is a finding again.
        check: Pattern for names of checks.
        task: Pattern for names or ids of tasks; a finding of no task has the name "".
        node: Pattern for ids of nodes, likewise.
    """

    reason: str
    until: datetime
    check: str = "*"
    task: str = "*"
    node: str = "*"

    @property
    def shown(self) -> str:
        """Reason and end."""
        return f"{self.reason} (until {self.until:%Y-%m-%d %H:%M} UTC)"


def match(finding: Finding, problems: Sequence[KnownProblem], now: datetime) -> KnownProblem | None:
    """The first known problem that a finding is and that has not ended; None if it is none."""
    tasks = (finding.task_name or "", finding.task_id or "")
    for problem in problems:
        if (
            now < problem.until
            and fnmatchcase(finding.check, problem.check)
            and any(fnmatchcase(task, problem.task) for task in tasks)
            and fnmatchcase(finding.node_id or "", problem.node)
        ):
            return problem
    return None


def read_known_problems(file: str | Path = KNOWN_PROBLEMS_FILE) -> list[KnownProblem]:
    """Reads the file in the working directory; there are none if there is no file.

    Raises:
        ConfigurationError: The file cannot be read, or an entry lacks its reason or its end.
    """
    path = Path(file)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if problem := toml_problem(content):
        raise ConfigurationError(f"{path}, {problem}")
    document = tomllib.loads(content.decode("utf-8-sig"))
    entries = document.pop(_TABLE, [])
    if document or not isinstance(entries, list):
        raise ConfigurationError(
            f"{path} has {next(iter(document), _TABLE)!r}: it holds tables [[{_TABLE}]] only"
        )
    return [_parse(entry, f"{path}, [[{_TABLE}]] number {n}") for n, entry in enumerate(entries, 1)]


def _parse(entry: Any, where: str) -> KnownProblem:
    known = (*_OPTIONAL, "reason", "until")
    if not isinstance(entry, dict) or (unknown := sorted(entry.keys() - set(known))):
        name = unknown[0] if isinstance(entry, dict) else entry
        raise ConfigurationError(f"{where}, has {name!r}: it may have {', '.join(known)}")
    texts = {name: entry[name] for name in (*_OPTIONAL, "reason") if name in entry}
    if wrong := [name for name, text in texts.items() if not isinstance(text, str) or not text]:
        raise ConfigurationError(f"{where}: {wrong[0]} must be a text that is not empty")
    until = entry.get("until")
    if "reason" not in entry or not isinstance(until, date):  # a datetime is a date, too
        missing = "reason" if "reason" not in entry else "until"
        raise ConfigurationError(f"{where}: {missing} is missing or wrong; give both, {_EXAMPLE}")
    moment = until if isinstance(until, datetime) else datetime.combine(until, time())
    return KnownProblem(until=moment if moment.tzinfo else moment.replace(tzinfo=UTC), **texts)
