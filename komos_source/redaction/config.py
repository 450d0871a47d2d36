"""Reads the section ``[sources.komos.redact]``."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from komos_source.config import Setting, setting
from komos_source.exceptions import ConfigurationError
from komos_source.redaction.redactor import MODES, Mode, Redactor
from komos_source.redaction.rules import BUILT_IN, Rule

_SECTION = "redact"
_SETTINGS = ("rules", "patterns", "mode", "key")
_LEAST_KEY = 16
RULES = Setting(
    "redact.rules",
    "Names of built-in rules, separated by commas, or `all`; in TOML also a list. See "
    "docs/redaction.md#rules.",
)
PATTERNS = Setting(
    "redact.patterns",
    "Own rules: a JSON object of regular expressions by name; in TOML the table "
    "`[sources.komos.redact.patterns]`.",
)
MODE = Setting("redact.mode", "`mask`, `hash` or `partial`, see docs/redaction.md#modes.", MODES[0])
KEY = Setting("redact.key", f"Key of `hash`, at least {_LEAST_KEY} characters; a secret.")
_NAME = re.compile("[a-z][a-z0-9_]{0,62}")


def configured_redactor() -> Redactor:
    """The rules of the section; without the section, a `Redactor` that changes nothing.

    Raises:
        ConfigurationError: A setting cannot be used.
    """
    section: Any = setting(_SECTION)
    for name in section if isinstance(section, dict) else ():
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"[sources.komos.redact] has no setting {name!r}: it has {', '.join(_SETTINGS)}"
            )
    rules = (*_built_in(RULES.value()), *_own(PATTERNS.value()))
    mode = str(MODE.value())
    if mode not in MODES:
        raise ConfigurationError(
            f"SOURCES__KOMOS__REDACT__MODE is {mode!r}: give mask, hash or partial"
        )
    key = str(KEY.value() or "")
    if rules and mode == "hash" and len(key) < _LEAST_KEY:
        raise ConfigurationError(
            "redaction by hash needs a key: set SOURCES__KOMOS__REDACT__KEY, or key under "
            f"[sources.komos.redact] in .dlt/secrets.toml, to a random text of {_LEAST_KEY} "
            "characters or more, and keep it"
        )
    return Redactor(rules, cast(Mode, mode), key.encode() if mode == "hash" else b"")


def _built_in(value: Any) -> Iterable[Rule]:
    """The built-in rules that a setting names; all of them for ``all``."""
    names = value.split(",") if isinstance(value, str) else value or []
    chosen = {str(name).strip() for name in names} - {""}
    if unknown := sorted(chosen - BUILT_IN.keys() - {"all"}):
        raise ConfigurationError(
            f"SOURCES__KOMOS__REDACT__RULES has no rule {unknown[0]!r}: it has "
            f"{', '.join(sorted(BUILT_IN))}, and all"
        )
    return [rule for name, rule in BUILT_IN.items() if {name, "all"} & chosen]


def _own(value: Any) -> Iterable[Rule]:
    """The rules of a table of regular expressions by name, or of such an object in JSON."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(
            "SOURCES__KOMOS__REDACT__PATTERNS is not a JSON object of regular expressions by name, "
            """such as {"customer": "CUST-[0-9]{6}"}"""
        )
    return [_own_rule(str(name), str(pattern)) for name, pattern in (value or {}).items()]


def _own_rule(name: str, pattern: str) -> Rule:
    if not _NAME.fullmatch(name) or name in BUILT_IN:
        raise ConfigurationError(
            f"the rule {name!r} in [sources.komos.redact.patterns] needs another name: small "
            "letters, digits and _, and not that of a built-in rule"
        )
    try:
        matches_nothing = pc.match_substring_regex(pa.array([""]), pattern)[0].as_py()
    except pa.ArrowInvalid as error:
        raise ConfigurationError(
            f"the rule {name!r} in [sources.komos.redact.patterns] is not a regular expression of "
            f"RE2: {error}"
        ) from error
    if matches_nothing:
        raise ConfigurationError(
            f"the rule {name!r} in [sources.komos.redact.patterns] must not match the empty text, "
            "which is between all characters"
        )
    return Rule(name, pattern)
