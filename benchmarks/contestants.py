"""Ours and the peers: how each is started, and where it leaves its rows."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Contestant:
    """Something that loads logs.

    Attributes:
        what: One line for the table.
        table: Qualified name of the table it fills; none if it fills none.
        command: The command line for (address, runs file, database).
        environment: Its variables, for the same three.
        packages: Its own virtual environment holds these; ours if there are none.
    """

    what: str
    table: str | None
    command: Callable[[str, Path, Path], list[str]]
    environment: Callable[[str, Path, Path], dict[str, str]] = lambda *_: {}
    packages: tuple[str, ...] = ()


def _peer(module: str, *options: str) -> Callable[[str, Path, Path], list[str]]:
    def command(address: str, runs_file: Path, database: Path) -> list[str]:
        program = [sys.executable, "-m", f"benchmarks.peers.{module}"]
        return [*program, address, str(runs_file), str(database), *options]

    return command


def _komos(*options: str) -> list[str]:
    return [str(Path(sys.executable).with_name("komos")), *options]


def _our_environment(address: str, runs_file: Path, database: Path) -> dict[str, str]:
    return {
        "SOURCES__KOMOS__BASE_URL": address,
        "SOURCES__KOMOS__API_KEY": "sk_live_benchmark",
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{database}",
        "DLT_DATA_DIR": str(database.with_name("dlt")),
    }


OURS = Contestant(
    "`komos load --runs-file F`",
    "komos.task_run_logs",
    lambda address, runs_file, database: _komos("load", "--runs-file", str(runs_file), "--json"),
    _our_environment,
)
OURS_ALL_RUNS = Contestant(
    "`komos load`",
    "komos.task_run_logs",
    lambda address, runs_file, database: _komos("load", "--json"),
    _our_environment,
)
HELP = Contestant("`komos --help`", None, lambda *_: _komos("--help"))
DLT_EMPTY = Contestant("an empty `pipeline.run` of dlt", None, _peer("dlt_empty"))

CONTESTANTS = {
    "ours": OURS,
    "floor": Contestant("fetch, DuckDB's JSON reader", "main.task_run_logs", _peer("floor")),
    "script": Contestant("httpx, pandas, ON CONFLICT", "main.task_run_logs", _peer("script")),
    "rest_api": Contestant(
        "dlt `rest_api`, tuned", "bench.task_run_logs", _peer("dlt_rest_api", "tuned")
    ),
    "rest_api_plain": Contestant(
        "dlt `rest_api`, as it comes", "bench.task_run_logs", _peer("dlt_rest_api", "plain")
    ),
}
DEFAULT = [name for name, contestant in CONTESTANTS.items() if not contestant.packages]
"""Those that need nothing more than is installed for development."""
