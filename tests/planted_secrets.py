"""Secrets of all kinds, and a world that has them in every field of an answer."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

from komos_source.redaction.rules import passes_luhn, passes_mod_97
from komos_source.testing import FakeKomos
from komos_source.testing.world import iso

KINDS = (
    "email",
    "credit_card",
    "phone",
    "bearer_token",
    "iban",
    "ip",
    "url_credentials",
    "url_query",
)
MARK = "zq7"
"""Part of each secret that has letters."""


class Secrets:
    """Makes secrets, each another, and remembers them.

    Attributes:
        made: What must not be found, by kind.
    """

    def __init__(self) -> None:
        self._random = random.Random(15)
        self.made: list[tuple[str, str]] = []

    def _digits(self, number: int) -> str:
        return "".join(self._random.choice("0123456789") for _ in range(number))

    def next(self) -> str:
        """A text with the next secret in it."""
        kind = KINDS[len(self.made) % len(KINDS)]
        word = MARK + self._digits(9)
        secret, text = getattr(self, f"_{kind}")(word)
        self.made.append((kind, secret))
        return f"a{len(self.made)}: {text}, "

    def card(self) -> int:
        """A number of a card."""
        secret, _ = self._credit_card("")
        self.made.append(("credit_card", secret))
        return int(secret)

    def _email(self, word: str) -> tuple[str, str]:
        return f"{word}@example.com", f"<{word}@example.com>"

    def _credit_card(self, _: str) -> tuple[str, str]:
        begin = "4" + self._digits(14)
        number = next(begin + digit for digit in "0123456789" if passes_luhn(begin + digit))
        return number, number

    def _phone(self, _: str) -> tuple[str, str]:
        number = f"+49 171 {self._digits(8)}"
        return number, number

    def _bearer_token(self, word: str) -> tuple[str, str]:
        shape = self._random.choice(["Bearer ", "sk_live_", "ghp_" + "a" * 12, "xoxb-1234567890-"])
        return word, f"{shape}{word}"

    def _iban(self, _: str) -> tuple[str, str]:
        account = "37040044" + self._digits(10)
        ibans = (f"DE{check:02}{account}" for check in range(2, 99))
        number = next(filter(passes_mod_97, ibans))
        return number, number

    def _ip(self, _: str) -> tuple[str, str]:
        address = ".".join(str(self._random.randint(100, 255)) for _ in range(4))
        return address, address

    def _url_credentials(self, word: str) -> tuple[str, str]:
        return word, f"https://user:{word}@example.com/"

    def _url_query(self, word: str) -> tuple[str, str]:
        return word, f"https://example.com/?a=1&code={word}"

    def found_in(self, content: bytes) -> list[tuple[str, str]]:
        """Those of the secrets that some bytes hold."""
        return [(kind, each) for kind, each in self.made if each.encode() in content]


def plant(world: FakeKomos, secrets: Secrets, runs: int = 4) -> list[str]:
    """Adds runs with secrets in every field of tasks, runs and entries; returns their ids.

    One run of each status; the log of each has entries as documented, with other fields, and that
    are rejected for one reason or another.
    """
    now, s = world.clock.now() - timedelta(hours=2), secrets.next
    task = world.add_task(f"Import {s()}", owner=s(), tags=[s(), {"more": s()}])
    ids = []
    for number in range(runs):
        run = world.add_run(
            task,
            created_at=now,
            inputs={"to": s(), "list": [s(), {"card": secrets.card()}]},
            outputs=[s(), {"json": '{"to": "' + s() + '"}'}],
            error={"text": s()} if number % 2 else s(),
            cancelReason=s(),
            logsUrl=s(),
            region=s(),
        )
        ids.append(run)
        world.append(run, *(_entry(now, number, message=s()) for number in range(10)))
        world.append(run, _entry(now, 11, message=s(), more={"a": [s()], "card": secrets.card()}))
        world.append(run, *_rejected(s))
        if number:
            world.finish(run, ("COMPLETED", "FAILED", "CANCELLED")[number % 3], at=now)
    return ids


def _entry(now: Any, second: int, **fields: Any) -> dict[str, Any]:
    return {"timestamp": iso(now + timedelta(seconds=second)), "nodeId": "login", **fields}


def _rejected(s: Any) -> list[Any]:
    return [
        {"id": "", "message": s()},
        {"message": {"text": s()}},
        {"timestamp": s()},
        {"level": [s()], "nodeId": {"a": s()}},
        s(),
        [s(), [s()]],
        {"id": "twice", "message": s()},
        {"id": "twice", "message": s()},
    ]
