"""The section ``[sources.komos.redact]``: what it says, and what is wrong with it."""

from __future__ import annotations

import json

import pytest

from komos_source.exceptions import ConfigurationError
from komos_source.redaction.config import configured_redactor
from komos_source.redaction.rules import BUILT_IN

KEY = "a key of sixteen or more characters"


def configure(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"SOURCES__KOMOS__REDACT__{name.upper()}", value)


def test_redactor_without_settings_has_no_rules() -> None:
    assert configured_redactor().rules == ()


def test_redactor_of_variables_has_their_rules_in_the_order_of_the_built_in_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patterns = json.dumps({"customer": "(?i)cust-[0-9]{6}"})
    configure(monkeypatch, rules=" iban, email ,", patterns=patterns, mode="hash", key=KEY)
    redactor = configured_redactor()
    assert [rule.name for rule in redactor.rules] == ["email", "iban", "customer"]
    assert redactor.text("Cust-123456").startswith("[customer:")


def test_redactor_of_all_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, rules="all")
    assert [rule.name for rule in configured_redactor().rules] == [*BUILT_IN]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rules": "emails"}, "no rule 'emails': it has bearer_token"),
        ({"mode": "blur"}, "is 'blur': give mask, hash or partial"),
        ({"rules": "email", "mode": "hash"}, "needs a key: set SOURCES__KOMOS__REDACT__KEY"),
        ({"rules": "email", "mode": "hash", "key": "short"}, "16 characters or more"),
        ({"patterns": "["}, "is not a JSON object"),
        ({"patterns": "[1]"}, "is not a JSON object"),
        ({"patterns": '{"own": "a)(b"}'}, "the rule 'own' .* is not a regular expression of RE2"),
        ({"patterns": r'{"own": "(?<=a)b"}'}, "the rule 'own' .* is not a regular expression"),
        ({"patterns": '{"own": "a*"}'}, "the rule 'own' .* must not match the empty text"),
        ({"patterns": '{"email": "a"}'}, "the rule 'email' .* needs another name"),
        ({"patterns": '{"A b": "a"}'}, "the rule 'A b' .* needs another name"),
    ],
)
def test_setting_that_cannot_be_used_is_named_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], says: str
) -> None:
    configure(monkeypatch, **values)
    with pytest.raises(ConfigurationError, match=says) as error:
        configured_redactor()
    assert "\n" not in str(error.value)
    assert "short" not in str(error.value)
