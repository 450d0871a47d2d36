"""What a body began with when it was last read, so that this need not be parsed again. Pure.

A log grows at its end: as a rule the new body is the old one with more entries before the closing
brackets. If all of it but these is there again byte for byte, those entries have all been loaded,
at the same positions, and nothing can have come late among them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
from blake3 import blake3

from komos_source.decoding.columns import UUID_WIDTH, are_as_wide_as_uuids

_END = b"]}"
_BEFORE_ID = '"id":"'
_MOST = 2**31 - 1  # bytes that Arrow can hold in one value


@dataclass(frozen=True, slots=True)
class Head:
    """All of a body but its end. The body was exactly as documented.

    Attributes:
        entries: How many entries it holds.
        length: In bytes.
        digest: 16 bytes of its BLAKE3, in hexadecimal: the state has one for each run.
    """

    entries: int
    length: int
    digest: str

    @classmethod
    def of(cls, body: bytes | bytearray, entries: int) -> Self | None:
        """The head of a body that is as documented; None if something follows its entries."""
        if not body.endswith(_END) or len(body) > _MOST:
            return None
        length = len(body) - len(_END)
        return cls(entries, length, _text_of(blake3(memoryview(body)[:length])))

    def grown(self, body: bytes | bytearray) -> tuple[bytes, Head] | None:
        """What a body holds beyond this, and its own head but for the number of entries.

        Returns:
            None if the body does not go on like this. The new entries are the text in the brackets.
        """
        end = len(body) - len(_END)
        if not self.length <= end <= _MOST or not body.endswith(_END):
            return None
        text = memoryview(body)
        digest = blake3(text[: self.length])
        if _text_of(digest) != self.digest:
            return None
        digest.update(text[self.length : end])
        rest = bytes(text[self.length : end])
        if rest and self.entries:
            comma, rest = rest[:1], rest[1:]
            if comma != b"," or not rest.strip():
                return None
        return rest, Head(self.entries, end, _text_of(digest))


def _text_of(digest: blake3) -> str:
    return digest.hexdigest(length=16)


def are_new(ids: pa.Array, heads: Sequence[tuple[Head, bytes | bytearray]]) -> bool:
    """Whether none of some ids is for certain that of an entry in these heads of these bodies.

    Looked for in the text: entries that are as documented have ``"id":"`` nowhere else, as quotes
    inside of texts are escaped. If one is spelled otherwise, nothing is certain.
    """
    if not are_as_wide_as_uuids(ids):
        return False
    texts = pa.chunked_array(
        [
            pa.Array.from_buffers(
                pa.binary(),
                1,
                [None, pa.py_buffer(struct.pack("=2i", 0, head.length)), pa.py_buffer(body)],
            )
            for head, body in heads
        ]
    )
    parts = pc.split_pattern(texts, _BEFORE_ID)
    # What is before the first id is a part, too.
    if pc.list_value_length(parts).to_pylist() != [head.entries + 1 for head, _ in heads]:
        return False
    known = pc.binary_slice(pc.list_flatten(parts), 0, UUID_WIDTH)
    spelled_otherwise = pc.match_substring(known, "\\")
    return not pc.any(pc.or_(spelled_otherwise, pc.is_in(known, ids.cast(pa.binary())))).as_py()


def body_of(run_id: str, entries: bytes) -> bytes:
    """The body of a log that holds only these entries, the text of which is given."""
    return b'{"runId":%s,"logEntries":[%s]}' % (json.dumps(run_id).encode(), entries)
