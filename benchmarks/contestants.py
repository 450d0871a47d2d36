"""Ours and the peers: how each is started, and where it leaves its rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import interpreter


@dataclass(frozen=True)
class Contestant:
    """Something that loads logs.

    Attributes:
        what: A few words for the table.
        table: Qualified name of the table it fills; None if it fills none.
        program: What is run: arguments of ``python -m``, or of ``komos``.
        packages: What its own virtual environment holds; it shares ours if there are none.
        rounds: Most rounds it takes part in: what takes minutes is measured once.
    """

    what: str
    table: str | None
    program: tuple[str, ...]
    packages: tuple[str, ...] = ()
    rounds: int = sys.maxsize

    def command(self, address: str, runs_file: Path, database: Path) -> list[str]:
        """The command line of one load."""
        if self.program[0] == "komos":
            words = [str(runs_file) if word == "RUNS_FILE" else word for word in self.program[1:]]
            return [str(Path(sys.executable).with_name("komos")), *words]
        module, *options = self.program
        python = interpreter(module.rpartition(".")[2], self.packages)
        return [python, "-m", module, address, str(runs_file), str(database), *options]


def environment(address: str, database: Path) -> dict[str, str]:
    """The variables of one load; most are ours, and nobody else minds."""
    return {
        "SOURCES__KOMOS__BASE_URL": address,
        "SOURCES__KOMOS__API_KEY": "sk_live_benchmark",
        "DESTINATION__DUCKDB__CREDENTIALS": f"duckdb:///{database}",
        "DLT_DATA_DIR": str(database.with_name("dlt")),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


OURS_ALL_RUNS = Contestant("`komos load`", "komos.task_run_logs", ("komos", "load", "--json"))
HELP = Contestant("`komos --help`", None, ("komos", "--help"))
DLT_EMPTY = Contestant("an empty `pipeline.run` of dlt", None, ("benchmarks.peers.dlt_empty",))

CONTESTANTS = {
    "ours": Contestant(
        "`komos load --runs-file`",
        "komos.task_run_logs",
        ("komos", "load", "--runs-file", "RUNS_FILE", "--json"),
    ),
    "floor": Contestant(
        "fetch, DuckDB's JSON reader", "main.task_run_logs", ("benchmarks.peers.floor", "whole")
    ),
    "floor_tail": Contestant(
        "the same, parsing only what came after",
        "main.task_run_logs",
        ("benchmarks.peers.floor", "tail"),
    ),
    "script": Contestant(
        "httpx, pandas, ON CONFLICT", "main.task_run_logs", ("benchmarks.peers.script",)
    ),
    "rest_api": Contestant(
        "dlt `rest_api`, tuned", "bench.task_run_logs", ("benchmarks.peers.dlt_rest_api", "tuned")
    ),
    "rest_api_plain": Contestant(
        "dlt `rest_api`, as it comes",
        "bench.task_run_logs",
        ("benchmarks.peers.dlt_rest_api", "plain"),
        rounds=1,
    ),
    "singer": Contestant(
        "Singer SDK, target-duckdb",
        "main.task_run_logs",
        ("benchmarks.peers.singer",),
        packages=("singer-sdk==0.54.9", "target-duckdb==0.8.0", "duckdb==1.1.3"),
        rounds=1,
    ),
    "airbyte": Contestant(
        "Airbyte CDK, low-code",
        "main.task_run_logs",
        ("benchmarks.peers.airbyte",),
        packages=("airbyte-cdk==7.39.1", "duckdb==2.0.0"),
        rounds=1,
    ),
}
DEFAULT = [name for name, contestant in CONTESTANTS.items() if not contestant.packages]
"""Those that need nothing more than is installed for development."""
