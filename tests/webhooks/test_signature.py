from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source.exceptions import ConfigurationError
from komos_source.testing.webhooks import sign, signed_headers
from komos_source.webhooks import verify as verify_delivery
from komos_source.webhooks.config import webhook_secrets
from komos_source.webhooks.signature import Refusal, check_headers

NOW = datetime(2025, 10, 14, 18, 22, 3, 489000, tzinfo=UTC)
SECRET = "wh_live_6f1c"
RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
BODY = json.dumps({"runId": RUN, "logEntries": []}).encode()
# Computed once with OpenSSL, so that signing and verifying cannot be wrong in the same way:
#   key=$(printf live_6f1c | openssl dgst -sha256 -hmac komos-webhook-pepper -r | cut -d' ' -f1)
#   printf '2025-10-14T18:22:03.489Z.{}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key
#   printf '2025-10-14T18:22:03.489Z.{}' | openssl dgst -sha256 -hmac $key
SAMPLES = {
    "key as bytes": "7c0bd1239caa6630f9b84a8c9610462e726bff73721cc88fb5ff0d9aac18d84b",
    "key as hex text": "be0a9b35133931c18cd993c0386cf1feae647a948012156b59888e966f7c3410",
}


def verify(headers: dict[str, str], body: bytes = BODY, **options: Any) -> Any:
    return verify_delivery(headers, body, **{"secrets": [SECRET], "now": NOW, **options})


def signed(body: bytes = BODY, event: str = "task-run.log", **options: Any) -> dict[str, str]:
    return signed_headers(SECRET, event, body, NOW, **options)


@pytest.mark.parametrize("name", SAMPLES)
def test_verify_accepts_a_signature_made_by_openssl(name: str) -> None:
    headers = {
        "X-Komos-Signature": f"t=2025-10-14T18:22:03.489Z,v1={SAMPLES[name]}",
        "X-Komos-Event": "task-run.completed",
        "Content-Type": "application/json; charset=utf-8",
    }
    delivery = verify(headers, b"{}")
    assert (delivery.event, delivery.run_id, delivery.body) == ("task-run.completed", "", b"{}")


@pytest.mark.parametrize("hex_key", [False, True])
def test_emulator_signs_as_openssl_does(hex_key: bool) -> None:
    name = "key as hex text" if hex_key else "key as bytes"
    assert sign(SECRET, b"{}", NOW, hex_key=hex_key).endswith(SAMPLES[name])


def test_verify_with_several_secrets_accepts_each_of_them() -> None:
    for secrets in (["wh_a_old-secret", SECRET], [SECRET]):
        assert verify(signed(), secrets=secrets).run_id == RUN
    with pytest.raises(Refusal, match="does not match any configured"):
        verify(signed(), secrets=["wh_a_old-secret"])


def test_verify_with_another_pepper_refuses_the_usual_one() -> None:
    assert verify(signed(pepper="own"), pepper="own").run_id == RUN
    with pytest.raises(Refusal):
        verify(signed(), pepper="own")


@pytest.mark.parametrize(
    "time", ["2025-10-14T18:22:03.489Z", "2025-10-14T20:22:03+02:00", "2025-10-14T18:22:03"]
)
def test_verify_signs_the_time_as_text(time: str) -> None:
    assert verify(signed() | {"x-komos-signature": sign_text(time)}).run_id == RUN


@pytest.mark.parametrize("seconds", [-299, 0, 299])
def test_verify_accepts_a_time_within_the_tolerance(seconds: int) -> None:
    verify(signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    ("seconds", "says"), [(-301, "301 s behind"), (301, "301 s ahead of"), (10**9, "ahead of")]
)
def test_verify_refuses_a_time_beyond_the_tolerance_and_reports_the_difference(
    seconds: int, says: str
) -> None:
    headers = signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=seconds))
    with pytest.raises(Refusal, match=says) as refused:
        verify(headers)
    assert refused.value.check == "timestamp"
    verify(headers, tolerance=timedelta(days=20_000))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"x-komos-signature": ""}, "signature"),
        ({"x-komos-signature": "t=,v1="}, "signature"),
        ({"x-komos-signature": "v1=" + "0" * 64}, "signature"),
        ({"x-komos-signature": "t=2025-10-14T18:22:03.489Z"}, "signature"),
        ({"x-komos-signature": "t=2025-10-14T18:22:03.489Z,v1=" + "0" * 64}, "signature"),
        ({"x-komos-signature": "t=2025-10-14T18:22:03.489Z,v1=" + "ä" * 64}, "signature"),
        ({"x-komos-signature": "t=2025-10-14T18:22:03.489Z,v1=0"}, "signature"),
        ({"x-komos-signature": signed()["x-komos-signature"] + ",v1=" + "0" * 64}, "signature"),
        ({"x-komos-event": " "}, "headers"),
        ({"x-komos-event": "x" * 101}, "headers"),
        ({"x-komos-event": "task run"}, "headers"),
        ({"x-komos-event": "\x1b[2J"}, "headers"),
        ({"content-type": "text/plain"}, "content type"),
        ({"content-type": ""}, "content type"),
    ],
)
def test_verify_refuses_wrong_headers_and_names_the_check(
    change: dict[str, str], check: str
) -> None:
    with pytest.raises(Refusal) as refused:
        verify(signed() | change)
    assert refused.value.check == check


@pytest.mark.parametrize("name", ["x-komos-signature", "x-komos-event", "content-type"])
def test_verify_refuses_a_repeated_header(name: str) -> None:
    headers = [*signed().items(), (name.upper(), signed()[name])]
    with pytest.raises(Refusal, match="twice"):
        verify_delivery(headers, BODY, secrets=[SECRET], now=NOW)


def test_verify_refuses_an_unusable_time() -> None:
    for text in ("9" * 5000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "soon"):
        with pytest.raises(Refusal) as refused:
            verify(signed() | {"x-komos-signature": sign_text(text)})
        assert refused.value.check == "timestamp"


def test_check_headers_refuses_without_a_body() -> None:
    for change, check in (
        ({"x-komos-signature": "none"}, "signature"),
        ({"x-komos-signature": f"t=2020-01-01T00:00:00Z,v1={'0' * 64}"}, "timestamp"),
    ):
        with pytest.raises(Refusal) as refused:
            check_headers(signed() | change, NOW)
        assert refused.value.check == check


def sign_text(text: str) -> str:
    import hashlib
    import hmac

    key = hmac.digest(b"komos-webhook-pepper", b"live_6f1c", "sha256")
    digest = hmac.digest(key, text.encode() + b"." + BODY, hashlib.sha256).hex()
    return f"t={text},v1={digest}"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe{}", b'{"a": "\xff"}', b"{}{}", b"[" * 100_000, b'{"a": NaN}'],
    ids=lambda body: repr(body[:12]),
)
def test_verify_refuses_a_body_that_is_not_json(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        verify(signed(body), body)
    assert refused.value.check == "body"


def test_verify_accepts_a_byte_order_mark() -> None:
    body = b"\xef\xbb\xbf" + BODY
    assert verify(signed(body), body).run_id == RUN


@pytest.mark.parametrize(
    ("event", "value", "run_id"),
    [
        ("task-run.log", {"runId": RUN, "logEntries": []}, RUN),
        ("task-run.completed", {"id": RUN, "taskId": "t"}, RUN),
        ("task-run.exploded", {"id": RUN}, RUN),
        ("task.created", {"id": RUN}, ""),
        ("task-run.log", {"runId": "nope"}, ""),
        ("task-run.log", {"runId": "{" + RUN + "}"}, ""),
        ("task-run.log", {"runId": 7, "id": RUN}, ""),
        ("task-run.log", [1], ""),
        ("task-run.log", "text", ""),
        ("task-run.log", {"runId": RUN, "half": "\ud83d"}, RUN),
    ],
)
def test_verify_reads_the_run_from_the_signed_body(event: str, value: Any, run_id: str) -> None:
    body = json.dumps(value).encode()
    assert verify(signed(body, event), body).run_id == run_id


def test_digest_depends_on_the_body_only() -> None:
    first = verify(signed())
    later = signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=60))
    assert verify(later).digest == first.digest
    assert verify(signed(event="task-run.other")).digest == first.digest
    assert verify(signed(BODY + b" "), BODY + b" ").digest != first.digest


@pytest.mark.parametrize(
    "secrets", [[], ["nounderscore"], ["wh_"], ["wh_ä"], ["wh_a"], ["wh_a_short"[:9]]]
)
def test_verify_refuses_an_unusable_secret_without_repeating_it(secrets: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        verify(signed(), secrets=secrets)
    assert not any(secret in str(refused.value) for secret in secrets if len(secret) > 4)


@pytest.mark.parametrize("value", ["'wh_a_1','wh_b_2'", '"wh_a_1", wh_b_2\n', " wh_a_1 ,, wh_b_2 "])
def test_webhook_secrets_are_read_without_quotes_and_blanks(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__WEBHOOK_SECRET", value)
    assert webhook_secrets() == ["wh_a_1", "wh_b_2"]
