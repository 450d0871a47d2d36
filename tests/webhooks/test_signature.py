from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from komos_source.exceptions import ConfigurationError
from komos_source.testing.webhooks import sign, signed_headers
from komos_source.webhooks.signature import Refusal, Verifier

NOW = datetime(2025, 10, 14, 18, 22, 3, 489000, tzinfo=UTC)
SECRET = "wh_live_6f1c"
RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
BODY = json.dumps({"runId": RUN, "logEntries": []}).encode()
# Worked out once with OpenSSL, so that signing and checking cannot be wrong in the same way:
#   key=$(printf live_6f1c | openssl dgst -sha256 -hmac komos-webhook-pepper -r | cut -d' ' -f1)
#   printf '2025-10-14T18:22:03.489Z.{}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:$key
#   printf '2025-10-14T18:22:03.489Z.{}' | openssl dgst -sha256 -hmac $key
SAMPLES = {
    "key as bytes": "7c0bd1239caa6630f9b84a8c9610462e726bff73721cc88fb5ff0d9aac18d84b",
    "key as hex text": "be0a9b35133931c18cd993c0386cf1feae647a948012156b59888e966f7c3410",
}


def verify(headers: dict[str, str], body: bytes = BODY, **options: Any) -> Any:
    verifier = Verifier([SECRET], **options)
    return verifier.verify(headers.items(), body, NOW)


def signed(body: bytes = BODY, event: str = "task-run.log", **options: Any) -> dict[str, str]:
    return signed_headers(SECRET, event, body, NOW, **options)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_signature_made_by_another_program_is_accepted(name: str) -> None:
    headers = {
        "X-Komos-Signature": f"t=2025-10-14T18:22:03.489Z,v1={SAMPLES[name]}",
        "X-Komos-Event": "task-run.completed",
        "Content-Type": "application/json; charset=utf-8",
    }
    delivery = verify(headers, b"{}")
    assert (delivery.event, delivery.run_id, delivery.body) == ("task-run.completed", "", b"{}")


@pytest.mark.parametrize("hex_key", [False, True])
def test_the_emulator_signs_like_that_program(hex_key: bool) -> None:
    name = "key as hex text" if hex_key else "key as bytes"
    assert sign(SECRET, b"{}", NOW, hex_key=hex_key).endswith(SAMPLES[name])


def test_several_secrets_are_accepted_while_one_replaces_another() -> None:
    old, new = Verifier(["wh_a_old", SECRET]), Verifier([SECRET])
    for verifier in (old, new):
        assert verifier.verify(signed().items(), BODY, NOW).run_id == RUN
    with pytest.raises(Refusal, match="none of the secrets"):
        Verifier(["wh_a_old"]).verify(signed().items(), BODY, NOW)


def test_an_organisation_may_have_a_pepper_of_its_own() -> None:
    headers = signed(pepper="salt")
    assert verify(headers, pepper="salt").run_id == RUN
    with pytest.raises(Refusal, match="none of the secrets"):
        verify(headers)


@pytest.mark.parametrize("seconds", [-299, 0, 299])
def test_a_delivery_within_the_tolerance_is_accepted(seconds: int) -> None:
    verify(signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=seconds)))


@pytest.mark.parametrize("seconds", [-301, 301, 10**9])
def test_a_stale_delivery_is_refused_either_way(seconds: int) -> None:
    headers = signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=seconds))
    with pytest.raises(Refusal) as refused:
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
        ({"content-type": "text/plain"}, "content type"),
        ({"content-type": ""}, "content type"),
    ],
)
def test_what_is_wrong_with_the_headers_is_said(change: dict[str, str], check: str) -> None:
    with pytest.raises(Refusal) as refused:
        verify(signed() | change)
    assert refused.value.check == check


@pytest.mark.parametrize("name", ["x-komos-signature", "x-komos-event", "content-type"])
def test_a_header_that_is_there_twice_is_refused(name: str) -> None:
    headers = [*signed().items(), (name.upper(), signed()[name])]
    with pytest.raises(Refusal, match="twice"):
        Verifier([SECRET]).verify(headers, BODY, NOW)


def test_a_time_of_any_size_is_a_refusal() -> None:
    for text in ("9" * 5000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "soon"):
        signature = sign_text(text)
        with pytest.raises(Refusal) as refused:
            verify(signed() | {"x-komos-signature": signature})
        assert refused.value.check == "timestamp"


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
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        verify(signed(body), body)
    assert refused.value.check == "body"


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
def test_the_run_is_read_from_the_signed_body(event: str, value: Any, run_id: str) -> None:
    body = json.dumps(value).encode()
    assert verify(signed(body, event), body).run_id == run_id


def test_the_same_delivery_signed_anew_has_the_same_digest() -> None:
    first = verify(signed())
    later = signed_headers(SECRET, "task-run.log", BODY, NOW + timedelta(seconds=60))
    assert verify(later).digest == first.digest
    assert verify(signed(BODY + b" "), BODY + b" ").digest != first.digest


@pytest.mark.parametrize("secrets", [[], ["nounderscore"], ["wh_"], ["wh_ä"]])
def test_a_secret_that_cannot_be_one_is_refused_without_being_repeated(secrets: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Verifier(secrets)
    assert not any(secret in str(refused.value) for secret in secrets if len(secret) > 3)
