r"""Rules: what is redacted, as regular expressions of RE2 and checks of what they find. Pure.

A text is searched as it is. In a JSON text that a text holds, the escapes ``\n`` and ``\u003c``
count as the edge of a word, and ``\/`` as a slash.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

Span = tuple[int, int]

_ESCAPE = r"\\(?:[bfnrt]|u[0-9a-fA-F]{4})"
_START = rf"(?:\b|_|{_ESCAPE})"
"""The edge of a word, or an underscore: `\b` alone takes that for a letter."""
_END = r"(?:\b|_)"
_LETTERS = r"A-Za-z\x{C0}-\x{24F}\x{370}-\x{52F}"
"""Latin, Greek and Cyrillic ones; RE2 takes a millisecond to compile the class of all letters."""
_AT = r"(?:@|%40|\\u0040)"
_SLASHES = r"(?:\\?/){2}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is redacted under one name.

    Attributes:
        name: Its name, which stands in place of what it finds.
        pattern: Regular expression (RE2) of what may be redacted.
        before: Regular expression of what stands before and is kept.
        after: Likewise behind.
        hint: Regular expression that is quicker and is found in each text that the pattern is.
        find: Returns the parts of what the pattern found that are redacted; all of it if None.
        canonical: Returns one spelling of what may be spelled in several ways.
    """

    name: str
    pattern: str
    before: str = ""
    after: str = ""
    hint: str = ""
    find: Callable[[str], Iterator[Span]] | None = None
    canonical: Callable[[str], str] = str.lower


def _digits_and_letters(value: str) -> str:
    return re.sub(r"[^0-9a-z+]", "", value.lower())


_SEPARATORS = re.compile("[^0-9A-Za-z]")


def _spans(
    value: str, lengths: Callable[[str], range], is_valid: Callable[[str], bool]
) -> Iterator[Span]:
    """The parts of whole groups that are valid; the longest from the left, none overlaps another.

    Args:
        value: Groups of letters and digits with separators between them.
        lengths: Returns which lengths, without separators, a part that begins so can have.
        is_valid: Whether a text without separators is valid.
    """
    whole = _SEPARATORS.sub("", value)
    if len(whole) in lengths(whole) and is_valid(whole):
        yield 0, len(value)
        return
    groups, first = list(re.finditer(r"[0-9A-Za-z]+", value)), 0
    while first < len(groups):
        possible = lengths("".join(each[0] for each in groups[first : first + 4]))
        ends = accumulate(len(each[0]) for each in groups[first:])
        candidates = []
        for last, length in enumerate(ends, first):
            if length >= possible.stop:
                break
            if length in possible:
                candidates.append(last)
        for last in reversed(candidates):
            if is_valid("".join(each[0] for each in groups[first : last + 1])):
                yield groups[first].start(), groups[last].end()
                first = last
                break
        first += 1


def passes_luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    doubled = map(_DOUBLED.__getitem__, digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


_DOUBLED = {str(digit): sum(divmod(2 * digit, 10)) for digit in range(10)}
"""The sum of the digits of twice a digit."""


def passes_mod_97(iban: str) -> bool:
    """Whether an IBAN without separators has the right check digits (ISO 13616, ISO 7064)."""
    turned = iban[4:] + iban[:4]
    return turned.isalnum() and int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _cards(value: str) -> Iterator[Span]:
    # Issuers begin with 2221 to 2720 and 3 to 6; equal digits are a placeholder.
    def is_card(digits: str) -> bool:
        issuer = digits[0] in "3456" or 2221 <= int(digits[:4]) <= 2720  # noqa: PLR2004 - as said
        return issuer and len(set(digits)) > 1 and passes_luhn(digits)

    return _spans(value, lambda _: range(13, 20), is_card)


_IBAN_COUNTRIES = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
"""By length (SWIFT, IBAN registry)."""
_IBAN_LENGTHS = {
    country: length
    for length, countries in _IBAN_COUNTRIES.items()
    for country in countries.split()
}


def _ibans(value: str) -> Iterator[Span]:
    def lengths(beginning: str) -> range:
        length = _IBAN_LENGTHS.get(beginning[:2].upper(), 0)
        return range(length, length + 1)

    return _spans(value, lengths, passes_mod_97)


def _phones(value: str) -> Iterator[Span]:
    if 7 <= sum(char.isdecimal() for char in value) <= 15:  # noqa: PLR2004 - E.164 has 15 at most
        yield 0, len(value)


def _addresses(value: str) -> Iterator[Span]:
    text = value
    while text:  # a full stop or colon may end the sentence
        try:
            ipaddress.ip_address(text)
        except ValueError:
            if text[-1] not in ".:":
                return
            text = text[:-1]
        else:
            # `dead::beef` may as well be a name in C++.
            if any(map(str.isdecimal, text)):
                yield 0, len(text)
            return


def _query_values(value: str) -> Iterator[Span]:
    # A path, such as where to go next, is no more secret than that of a URL.
    if not re.fullmatch(r"(?:/[\w.~-]{0,32})+", value):
        yield 0, len(value)


def _tokens(value: str) -> Iterator[Span]:
    scheme = re.match(r"(?i)(?:bearer|basic)(?:\s+|%20|\+)", value)
    start = scheme.end() if scheme else 0
    token = value[start:]
    # "Basic information" holds none.
    if not scheme or re.search("[0-9=]|[a-z][A-Z]", token) or len(token) >= _LONG_WORD:
        yield start, len(value)


_LONG_WORD = 24
_KEYS = {
    r"[spr]k_(?:live|test)_": r"[0-9A-Za-z_]{8,}",  # Komos, Stripe
    r"whsec_": r"[0-9A-Za-z+/=]{16,}",
    r"wh_": r"[0-9A-Za-z]+_[0-9A-Za-z_-]{16,}",  # a webhook secret of Komos
    r"sk-": r"[0-9A-Za-z_-]{20,}",  # OpenAI, Anthropic
    r"gh[pousr]_": r"[0-9A-Za-z]{20,}",
    r"github_pat_": r"[0-9A-Za-z_]{20,}",
    r"glpat-": r"[0-9A-Za-z_-]{16,}",
    r"A[KS]IA": r"[0-9A-Z]{16}",  # AWS
    r"AIza": r"[0-9A-Za-z_-]{35}",  # Google
    r"xox[abeoprs]-": r"[0-9A-Za-z-]{10,}",  # Slack
    r"npm_": r"[0-9A-Za-z]{36}",
    r"pypi-": r"[0-9A-Za-z_-]{40,}",
    r"hf_": r"[0-9A-Za-z]{30,}",
    r"dop_v1_": r"[0-9a-f]{64}",
    r"SG\.": r"[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}",  # SendGrid
    r"eyJ": r"[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]{8,}(?:\.[0-9A-Za-z_-]*)*",  # JWT, JWE
}
"""How keys go on, by how they begin."""

BUILT_IN = {
    rule.name: rule
    for rule in (
        Rule(
            "url_credentials",
            r"[^\s/?#\"'<>\[\]]+",
            before=rf"(?i:\b[a-z][a-z0-9+.-]*):{_SLASHES}",
            after="@",
        ),
        Rule(
            "bearer_token",
            "|".join(
                (
                    r"(?i:bearer|basic)(?:\s+|%20|\+)[0-9A-Za-z._~+/-]{8,}=*",
                    *(f"{begin}{rest}" for begin, rest in _KEYS.items()),
                )
            ),
            before=_START,
            hint="(?i:bearer|basic)|" + "|".join(_KEYS),
            find=_tokens,
            canonical=str,
        ),
        Rule(
            "email",
            rf"[{_LETTERS}0-9._%+-]*[{_LETTERS}0-9_%+-]{_AT}"
            rf"(?:[{_LETTERS}0-9][{_LETTERS}0-9-]*\.)+[{_LETTERS}][{_LETTERS}]+",
            before=f"(?:{_ESCAPE})?",  # else its letter would begin the address
            hint=_AT,
        ),
        Rule(
            "iban",
            r"(?i:[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]){11,})",
            before=_START,
            after=_END,
            find=_ibans,
            canonical=_digits_and_letters,
        ),
        Rule(
            "credit_card",
            r"[0-9](?:[ .-]?[0-9]){12,}",
            before=_START,
            after=_END,
            find=_cards,
            canonical=_digits_and_letters,
        ),
        Rule(
            "ip",
            r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|"
            r"[0-9a-fA-F]{1,4}:[0-9a-fA-F:]*:[0-9a-fA-F:.]*|::[0-9a-fA-F:.]+",
            before=rf"(?:^|[^0-9A-Za-z:.]|{_ESCAPE})",
            find=_addresses,
        ),
        Rule(
            "phone",
            r"(?:\+|00)[1-9][0-9]{0,2}(?:[ ./-]{0,2}\(?[0-9]{1,5}\)?){2,6}|"
            r"\(?0[1-9][0-9]{1,4}\)?[ /-]{1,3}[0-9]{2,8}(?:[ -][0-9]{2,5}){0,4}|"
            r"(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-. ][0-9]{4}",
            before=rf"(?:^|[^0-9A-Za-z.+/-]|{_ESCAPE})",
            after=r"\b",
            find=_phones,
            canonical=_digits_and_letters,
        ),
        Rule(
            "url_query",
            r"[^\s&#\"'<>\\\[\]]+",
            before=r"(?:[?&;]|\\u0026)[^\s=&?#\"'<>]+=",
            find=_query_values,
        ),
    )
}
"""The built-in rules, in the order in which they apply."""
