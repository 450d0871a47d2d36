"""`verify` of any input returns a delivery or raises a refusal."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from komos_source.testing.webhooks import sign, signed_headers
from komos_source.webhooks import verify
from komos_source.webhooks.signature import Delivery, Refusal

NOW = datetime(2025, 10, 14, tzinfo=UTC)
SECRET = "wh_test_2f6b8a"
NAMES = ["x-komos-signature", "x-komos-event", "content-type", "X-Komos-Event", "other"]
latin = st.text(st.characters(max_codepoint=255))
signature_like = st.one_of(
    latin,
    st.builds("t={},v1={}".format, latin, st.text("0123456789abcdefG", min_size=60, max_size=66)),
    st.lists(st.builds("{}={}".format, st.sampled_from(["t", "v1", "v0", ""]), latin)).map(
        ",".join
    ),
    st.binary().map(lambda body: sign(SECRET, body, NOW)),
)
headers = st.lists(st.tuples(st.sampled_from(NAMES), signature_like), max_size=8)


def outcome(given_headers: list[tuple[str, str]], body: bytes) -> Delivery | Refusal:
    try:
        return verify(given_headers, body, secrets=[SECRET], now=NOW)
    except Refusal as refusal:
        return refusal


@given(headers, st.binary())
def test_verify_of_any_headers_accepts_or_refuses(
    given_headers: list[tuple[str, str]], body: bytes
) -> None:
    assert isinstance(outcome(given_headers, body), Refusal | Delivery)


@given(latin, st.one_of(st.binary(), st.text().map(lambda text: text.encode(errors="replace"))))
def test_verify_of_any_signed_body_keeps_it_unchanged_or_refuses(event: str, body: bytes) -> None:
    found = outcome(list(signed_headers(SECRET, event, body, NOW).items()), body)
    if isinstance(found, Delivery):
        assert found.body == body
    else:
        assert found.check in {"headers", "body"}


@given(st.binary(min_size=1), st.integers(0))
def test_verify_of_a_changed_body_refuses(body: bytes, place: int) -> None:
    sent = list(signed_headers(SECRET, "task-run.log", body, NOW).items())
    changed = bytearray(body)
    changed[place % len(body)] ^= 1
    found = outcome(sent, bytes(changed))
    assert isinstance(found, Refusal)
    assert found.check == "signature"
