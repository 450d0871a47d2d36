"""A share of the work: which tasks, or which named runs, are one process's to load."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from komos_source.exceptions import UsageError


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several buckets that together hold every id once.

    Attributes:
        bucket: Its number, from 0.
        of: How many buckets there are.
    """

    bucket: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.bucket < self.of:
            raise UsageError(
                f"there is no shard {self}: of N shards the first is 0/N, the last N-1/N"
            )

    def __str__(self) -> str:
        return f"{self.bucket}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``3/64``.

        Raises:
            UsageError: It is not of that form, or there is no such bucket.
        """
        if not re.fullmatch(r"\d+/\d+", text, re.ASCII):
            raise UsageError(f"{text!r} is not a shard: bucket/buckets is expected, such as 0/64")
        bucket, of = text.split("/")
        return cls(int(bucket), int(of))

    def holds(self, identity: str) -> bool:
        """Whether an id is in this bucket; the same on every machine, for good."""
        digest = hashlib.blake2b(identity.encode(), digest_size=8).digest()
        return int.from_bytes(digest) % self.of == self.bucket

    def only(self, identities: Iterable[str] | None) -> list[str] | None:
        """Those of some ids that are in this bucket; None stays None, which means all there are."""
        return None if identities is None else [each for each in identities if self.holds(each)]

    @property
    def suffix(self) -> str:
        """The end of the names of this shard's pipeline and staging dataset."""
        return f"_{self.bucket}_of_{self.of}"
