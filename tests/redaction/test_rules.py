"""Built-in rules: what each of them finds, and what it leaves alone."""

from __future__ import annotations

import re

import pytest

from komos_source.redaction.redactor import Redactor
from komos_source.redaction.rules import BUILT_IN, passes_luhn, passes_mod_97
from komos_source.testing import make_sample_data

ALL = Redactor(tuple(BUILT_IN.values()))

FOUND = {
    "email": [
        "anna.lee@example.com",
        "Anna <anna+komos@mail.example.co.uk>",
        "anna%40example.com",
        "jürgen@müller.de",
        r"{\"mail\":\"a@b.io\"}",
        "_a@b.io_",
    ],
    "credit_card": [
        "4242424242424242",
        "4242 4242 4242 4242",
        "5555-5555-5555-4444",
        "378282246310005",
        "order 12345 4111 1111 1111 1111 of May",
        "card_4111111111111111_declined",
        r"{\"card\":\n4111111111111111}",
        "2223003122003222",
    ],
    "iban": [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00 IS OURS",
        "gb82west12345698765432",
        "to NL91 ABNA 0417 1643 00.",
        "NO9386011117947",
    ],
    "phone": [
        "+49 171 1234567",
        "+1 (415) 555-2671",
        "+442071838750",
        "0049 30 901820",
        "030 901820-55",
        "(030) 9018 2055",
        "0171/1234567",
        "415-555-2671",
        "(415) 555-2671",
        "tel:+33-1-23-45-67-89",
    ],
    "ip": ["192.168.0.17", "at 10.0.0.1:8080", "[2001:db8::1]", "fe80::1ff:fe23:4567:890a", "::1."],
    "bearer_token": [
        "Authorization: Bearer abc123def456",
        "authorization: basic dXNlcjpwYXNz",
        "sk_live_51H8abcdefGHIJKL",
        "ghp_0123456789abcdefghijABCDEFGHIJ012345",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdefGHIJKL",
        "key=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
        "wh_komos_0123456789abcdef0123",
    ],
    "url_credentials": [
        "https://anna:s3cret@example.com/x",
        "postgresql://komos:p@ss:word@db:5432/komos",
        r"https:\/\/anna:s3cret@example.com",
        "ftp://token@example.com",
    ],
    "url_query": [
        "https://example.com/?token=abc123",
        "https://example.com/a?b=1&amp;session=xyz#top",
        r"https://example.com/?a=1\u0026code=4711",
    ],
}
LEFT = [
    "",
    "Retrying element click after timeout",
    "Navigated to https://example.com/orders/48219",
    "8c160f06-72c3-44d1-b0bb-0cb7284987b1",
    "2025-10-14T18:22:03.489Z",
    "2025-10-14 18:22:03.489123+00:00",
    "1760466123489",
    "Chrome/120.0.6099.71",
    "std::vector, Foo::Bar, dead::beef, 12:30:45, 00:1B:44:11:3A:B7",
    "basic information, bearer certificate",
    "4242424242424241",
    "0000000000000000",
    "DE88370400440532013000",
    "order 2025-10-14-0042, version 1.2.3",
    "a@b, @anna, anna@localhost",
    "https://login.example.com/?next=/orders/10057",
    "what? a=1",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
]


@pytest.mark.parametrize("name", BUILT_IN)
def test_rule_finds_each_spelling(name: str) -> None:
    redacted = Redactor((BUILT_IN[name],)).texts(FOUND[name])
    assert [each for each in redacted if f"[{name}]" not in each] == []
    rest = " ".join(redacted).replace(f"[{name}]", "")
    assert not re.search(r"4242|1111|s3cret|abc123|3704|2671|anna\.|db8", rest)


def test_rules_leave_other_texts_alone() -> None:
    assert ALL.texts(LEFT) == LEFT


def test_rules_together_find_what_each_finds() -> None:
    texts = [text for texts in FOUND.values() for text in texts]
    assert [text for text, new in zip(texts, ALL.texts(texts), strict=True) if text == new] == []


def test_rules_on_ordinary_messages_find_nothing() -> None:
    messages = [entry["message"] for _, _, entry in make_sample_data().entries()]
    redacted = ALL.texts(messages)
    false_hits = [new for old, new in zip(messages, redacted, strict=True) if old != new]
    assert len(false_hits) <= len(messages) * 0.0001, false_hits


@pytest.mark.parametrize(
    ("check", "valid"),
    [(passes_luhn, "79927398713"), (passes_mod_97, "GB82WEST12345698765432")],
)
def test_checksum_refuses_each_other_last_digit(check: object, valid: str) -> None:
    assert callable(check)
    others = [valid[:-1] + digit for digit in "0123456789"]
    assert [each for each in others if check(each)] == [valid]
