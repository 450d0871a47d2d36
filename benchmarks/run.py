"""``python -m benchmarks.run``: runs scenarios, prints their tables, writes RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, DEFAULT
from benchmarks.environments import interpreter
from benchmarks.scenarios import SCENARIOS, Options

_RESULTS = Path(__file__).with_name("RESULTS.md")
_VERSIONS = ("komos-source", "dlt", "duckdb", "pyarrow", "pandas", "httpx")


def main() -> None:
    """Parses the command line, runs what it asks for."""
    options = _options()
    asked = Options(
        contestants={name: CONTESTANTS[name] for name in ["ours", *options.peers] if _ready(name)},
        repeats=options.repeats,
        scale=options.scale,
        report=lambda line: print(f"  {line}", file=sys.stderr, flush=True),
    )
    parts = [_heading(options)]
    for name in options.scenario:
        scenario = SCENARIOS[name]
        print(f"{name}: {scenario.__doc__}", file=sys.stderr)
        lines = scenario(asked)
        print("\n".join(lines))
        parts.append(f"## {name}: {scenario.__doc__}\n\n" + "\n".join(lines))
    options.out.write_text("\n\n".join(parts) + "\n")


def _ready(name: str) -> bool:
    """Makes the environment of a peer that needs its own; without it the peer cannot take part."""
    try:
        interpreter(name, CONTESTANTS[name].packages)
    except subprocess.CalledProcessError as error:
        print(f"{name} takes no part, its packages cannot be installed: {error}", file=sys.stderr)
        return False
    return True


def _heading(options: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in _VERSIONS)
    size = "" if options.scale == 1 else f" Sizes × {options.scale:g}."
    return (
        "# What loading costs\n\n"
        f"`make bench`, {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, {versions}.{size} Process "
        f"start to exit, medians of {options.repeats} taken in turn (the slowest peers: once, see "
        "[README](README.md)); a load counts only if its "
        "rows, distinct ids and null timestamps are right. Ratios travel, seconds do not."
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenario", type=_names(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--peers", type=_names(CONTESTANTS), default=DEFAULT)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the entries")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    return parser.parse_args()


def _names(known: Iterable[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = list(known) if text == "all" else text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown}: there is {', '.join(known)}, or all")
        return names

    return parse


if __name__ == "__main__":
    main()
