"""Applies rules to texts, to columns of texts and to JSON values. Pure.

What is redacted is replaced by the rule's name in brackets. Such a replacement is left alone
afterwards: what has been redacted once stays as it is when it is redacted again.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar, get_args

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.redaction.rules import BUILT_IN, Rule
from komos_source.text import json_text, storable_text

Mode = Literal["mask", "hash", "partial"]
MODES: tuple[str, ...] = get_args(Mode)

T = TypeVar("T", str, str | None)

_HASH_LENGTH = 10
_KEPT = 4
"""Characters that `partial` keeps at the end of a value."""
_LEAST_PARTIAL = 12
"""Characters that a value has at least if `partial` keeps some of them."""
_MOST_PASSES = 8
"""A rule of one's own may find something in each replacement."""
_MARK = "\0"
"""Stands around what a rule finds; texts that databases can store do not hold it."""


@dataclass(frozen=True)
class Redactor:
    """Rules and how they redact. Without rules, everything stays as it is.

    Attributes:
        rules: The rules, in the order in which they apply.
        mode: What stands in place of a value: ``mask`` the name of its rule (``[email]``), ``hash``
            a keyed hash, too (``[email:1a2b3c4d5e]``), ``partial`` a part of it, too
            (``[email:…@example.com]``, ``[iban:…3000]``).
        key: The key of the hash.
    """

    rules: tuple[Rule, ...] = ()
    mode: Mode = "mask"
    key: bytes = b""

    @cached_property
    def version(self) -> str | None:
        """A hash that changes with rules, mode and key; None without rules."""
        if not self.rules:
            return None
        rules = [(each.name, each.before, each.pattern, each.after) for each in self.rules]
        content = json.dumps([rules, self.mode]).encode()
        return hmac.digest(self.key, content, "sha256").hex()[:12]

    def text(self, text: str) -> str:
        """One text, redacted."""
        return self.texts([text])[0]

    def texts(self, texts: Sequence[T]) -> list[T]:
        """Texts (or None), redacted; one in which nothing is found stays the same object."""
        if not self.rules or not texts:
            return list(texts)
        before = pa.array([each and storable_text(each) for each in texts], pa.string())
        after = self.column(before)
        if after is before:
            return list(texts)
        pairs = zip(texts, before.to_pylist(), after.to_pylist(), strict=True)
        return [text if old == new else new for text, old, new in pairs]

    def column(self, texts: Any) -> Any:
        """A column of texts, redacted; the same object if nothing is found.

        Args:
            texts: `pa.Array` or `pa.ChunkedArray` of strings.
        """
        return self._redact(texts, _MOST_PASSES)

    def _redact(self, texts: Any, passes: int) -> Any:
        redacted = texts
        for rule in self.rules:
            hint = rule.hint or f"(?:{rule.before})(?:{rule.pattern})(?:{rule.after})"
            found = _mask(pc.match_substring_regex(redacted, hint))
            if pc.any(found).as_py():
                values = self._apply(rule, redacted.filter(found))
                redacted = pc.replace_with_mask(redacted, found, values)
        changed = _mask(pc.not_equal(redacted, texts)) if redacted is not texts else None
        if changed is None or not pc.any(changed).as_py():
            return texts
        if passes > 1:
            # A replacement may be the edge of a word that another rule finds.
            values = self._redact(redacted.filter(changed), passes - 1)
            values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
            redacted = pc.replace_with_mask(redacted, changed, values)
        return redacted

    def _apply(self, rule: Rule, texts: Any) -> Any:
        """Texts in which a rule may find something, redacted by it."""
        after = r"\4" if rule.after else ""  # else the fourth group may be one within the pattern
        marked = pc.replace_substring_regex(
            pc.replace_substring(texts, _MARK, "\ufffd"),
            pattern=f"({self._replacement})|({rule.before})({rule.pattern})({rule.after})",
            replacement=rf"\1\2{_MARK}\3{_MARK}{after}",
        )
        redacted: list[str] = []
        for text in marked.to_pylist():
            parts = text.split(_MARK)
            # Nothing is between the marks behind a replacement, which stays.
            parts[1::2] = [self._value(rule, each) if each else "" for each in parts[1::2]]
            redacted.append("".join(parts))
        return pa.array(redacted, texts.type)

    def _value(self, rule: Rule, value: str) -> str:
        parts, end = [], 0
        for start, stop in rule.find(value) if rule.find else [(0, len(value))]:
            parts += [value[end:start], self._replaced(rule, value[start:stop])]
            end = stop
        return "".join([*parts, value[end:]])

    def _replaced(self, rule: Rule, value: str) -> str:
        if self.mode == "hash":
            message = f"{rule.name} {rule.canonical(value)}".encode()
            digest = hmac.digest(self.key, message, "sha256").hex()
            return f"[{rule.name}:{digest[:_HASH_LENGTH]}]"
        if self.mode == "partial" and (part := _part(value)):
            return f"[{rule.name}:…{part}]"
        return f"[{rule.name}]"

    @cached_property
    def _replacement(self) -> str:
        """Regular expression of what stands in place of a value, whatever the mode."""
        names = "|".join({**BUILT_IN, **{rule.name: rule for rule in self.rules}})
        return rf"\[(?:{names})(?::(?:[0-9a-f]{{{_HASH_LENGTH}}}|…[^\s\[\]]+))?\]"

    def json_texts(
        self, texts: Sequence[str | None], dump: Callable[[Any], str] = json_text
    ) -> list[str | None]:
        """Texts of JSON values, redacted; one in which nothing is found stays as it is.

        Names of fields are kept. A number in which something is found, such as that of a card,
        becomes a text. What is not JSON is redacted as a text.

        Args:
            texts: The texts.
            dump: Returns the text of a value that has changed.
        """
        redacted = [*texts]
        if not self.rules:
            return redacted
        values: dict[int, Any] = {}
        for index, text in enumerate(texts):
            if text is not None:
                try:
                    values[index] = json.loads(text)
                except (ValueError, RecursionError):
                    redacted[index] = self.text(text)
        roots = [*values.values()]
        changed = self.redact_in_place(roots)
        for index, value, is_changed in zip(values, roots, changed, strict=True):
            if is_changed:
                redacted[index] = dump(value)
        return redacted

    def redact_in_place(self, roots: list[Any]) -> list[bool]:
        """Redacts JSON values of a list likewise; returns which of them have changed.

        Lists and objects in them are changed, too.
        """
        found = [*_texts_in(roots)]
        changed = [False] * len(roots)
        redacted = self.texts([text for *_, text in found])
        for (root, container, place, text), new in zip(found, redacted, strict=True):
            if new is not text:
                container[place] = new
                changed[root] = True
        return changed


def _mask(found: Any) -> Any:
    """A column of booleans as an array, with False for null."""
    array = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return pc.fill_null(array, False)


def _texts_in(roots: list[Any]) -> Iterator[tuple[int, Any, Any, str]]:
    """All texts in JSON values, and numbers as texts.

    Yields:
        The number of the value; list or object and place within it; the text.
    """
    # Not recursive: JSON may be nested deeper than functions can be called.
    containers: list[tuple[int, Any, Any]] = [(n, roots, n) for n in range(len(roots))]
    while containers:
        root, container, place = containers.pop()
        value = container[place]
        if isinstance(value, str):
            yield root, container, place, value
        elif isinstance(value, dict):
            containers += [(root, value, name) for name in value]
        elif isinstance(value, list):
            containers += [(root, value, index) for index in range(len(value))]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield root, container, place, json.dumps(value)


NO_RULES = Redactor()


def _part(value: str) -> str:
    """What `partial` keeps of a value: the domain of an email, else its last characters."""
    name, at, domain = value.rpartition("@")
    if name and re.fullmatch(r"[^\W_]([^\W_]|[.-])*", domain):
        return at + domain
    kept = re.sub(r"[\W_]", "", value)
    return kept[-_KEPT:] if len(kept) >= _LEAST_PARTIAL else ""
