"""Fails if a large load has become slow: compares whole processes, taken in turn, with a peer.

python -m benchmarks.guard

A busy machine slows both down, so the ratio of their times says more than either.
"""

from __future__ import annotations

import sys

from benchmarks.contest import contest, serving
from benchmarks.contestants import CONTESTANTS

_AT_LEAST = 4
"""As often as fast, entry for entry, as dlt's `rest_api` source tuned; far less than measured."""
_ROUNDS = 3
"""Slower than it should be in one round is noise; in each of three it is the code."""


def main() -> None:
    """Prints the ratio of each round, until one is high enough."""
    with serving(runs=20, entries=1_000_000) as large, serving(runs=20, entries=100_000) as small:
        for _ in range(_ROUNDS):
            ours, peer = (
                contest({"": server}, {name: CONTESTANTS[name]}, 1, print, phases=(0,))[0]
                for name, server in (("ours", large), ("rest_api", small))
            )
            if ours.wrong or peer.wrong:
                sys.exit(f"ours: {ours.wrong or 'right'}; rest_api: {peer.wrong or 'right'}")
            ratio = 10 * peer.measured.seconds / ours.measured.seconds
            print(f"{ratio:.1f} times as fast as rest_api; expected: {_AT_LEAST} or more")
            if ratio >= _AT_LEAST:
                return
    sys.exit(f"slower than {_AT_LEAST} times rest_api in each of {_ROUNDS} rounds")


if __name__ == "__main__":
    main()
