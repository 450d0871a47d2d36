"""Deliveries are redacted before they are stored; what a load finds rows by stays as it is."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from komos_source.decoding.parse import parse_log
from komos_source.extract.redact_rows import redact_log
from komos_source.redaction.redactor import NO_RULES, Redactor
from komos_source.redaction.rules import BUILT_IN, Rule
from komos_source.webhooks import Spool
from komos_source.webhooks.events import decode
from komos_source.webhooks.redact_deliveries import redact_bodies
from komos_source.webhooks.signature import Delivery
from komos_source.webhooks.spool_tables import Spooled
from tests.receiver import Receiver

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
NOW = datetime(2025, 10, 14, tzinfo=UTC)
SECRET = "anna@example.com"
TIME = "2025-10-14T18:22:03.489Z"
# The last rule finds something in ids, times and levels, too.
ALL = Redactor((*BUILT_IN.values(), Rule("years", "2025|9c77|info|login|COMPLETED")))
ENTRIES: list[Any] = [
    {"id": "9c77", "timestamp": TIME, "level": "info", "message": SECRET, "nodeId": "login"},
    {"id": "b", "timestamp": None, "level": None, "message": "x", "nodeId": None, "m": [SECRET, 1]},
    {"id": "c", "timestamp": SECRET, "message": {"a": SECRET}, "status": SECRET},
    {"id": 4242424242424242, "level": [SECRET], "nodeId": {"a": SECRET}},
    SECRET,
    [SECRET],
]


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


LOG = body_of({"runId": RUN, "logEntries": ENTRIES, "more": SECRET})


def redacted(body: bytes) -> Any:
    return json.loads(redact_bodies([body], ALL)[0])


def test_body_of_entries_keeps_what_identifies_and_orders_them() -> None:
    value = redacted(LOG)
    assert SECRET not in json.dumps(value)
    assert "4242" not in json.dumps(value)
    assert (value["runId"], value["more"]) == (RUN, "[email]")
    assert value["logEntries"][0] == ENTRIES[0] | {"message": "[email]"}
    assert value["logEntries"][1] == ENTRIES[1] | {"m": ["[email]", 1]}
    assert value["logEntries"][4:] == ["[email]", ["[email]"]]


def test_body_of_a_run_keeps_ids_status_and_times() -> None:
    run = {"id": RUN, "taskId": "9c77", "status": "COMPLETED", "triggerType": "info"}
    times = {"createdAt": TIME, "finishedAt": None}
    free = {"inputs": {"a": SECRET}, "outputs": [SECRET], "error": SECRET, "cancelReason": SECRET}
    value = redacted(body_of(run | {"timestamps": times | {"by": SECRET}} | free))
    assert value == run | {
        "timestamps": times | {"by": "[email]"},
        "inputs": {"a": "[email]"},
        "outputs": ["[email]"],
        "error": "[email]",
        "cancelReason": "[email]",
    }


@pytest.mark.parametrize("value", [SECRET, [SECRET], 4242424242424242, {"logEntries": SECRET}])
def test_body_of_another_shape_is_redacted(value: Any) -> None:
    assert "[email]" in (text := json.dumps(redacted(body_of(value)))) or "[credit_card]" in text


def test_body_that_is_no_json_is_redacted_as_a_text() -> None:
    deep = b"[" * 100_000 + body_of(SECRET) + b"]" * 100_000
    for body in (b"not { " + SECRET.encode(), deep):
        assert SECRET.encode() not in redact_bodies([body], ALL)[0]


def test_body_without_a_find_is_the_same_object() -> None:
    bodies = [b'\xef\xbb\xbf{"runId":  "x", "a": 1.50}', b"[1e400]"]
    assert all(new is old for new, old in zip(redact_bodies(bodies, ALL), bodies, strict=True))
    assert redact_bodies([LOG], NO_RULES)[0] is LOG


def test_entries_redacted_in_the_spool_or_by_a_load_are_those_of_the_api() -> None:
    api = redact_log(parse_log(LOG, RUN, NOW), ALL)
    for body in (LOG, *redact_bodies([LOG], ALL)):
        pushed = decode([Spooled(1, "task-run.log", RUN, NOW, body)], ALL)
        rows = {row["id"]: row for row in pushed.rows.to_pylist()}
        assert rows == {row["id"]: row | {"position": None} for row in api.rows.to_pylist()}
        rejected = {(row["id"], row["raw"]) for row in pushed.rejected.to_pylist()}
        assert rejected == {(row["id"], row["raw"]) for row in api.rejected.to_pylist()}


def test_unknown_delivery_is_loaded_redacted() -> None:
    body = body_of({"x": SECRET})
    (row,) = decode([Spooled(1, "other", "", NOW, body)], ALL).rejected.to_pylist()
    assert json.loads(row["raw"]) == {"x": "[email]"}
    assert row["id"] != hashlib.sha256(body).hexdigest()


def test_spool_holds_redacted_deliveries_by_the_configured_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "email")
    file = tmp_path / "spool.db"
    delivery = Delivery("task-run.log", RUN, LOG, hashlib.sha256(LOG).hexdigest())
    with contextlib.closing(Spool(f"sqlite:///{file}", reserve=0)) as spool:
        assert (spool.put([delivery]), spool.put([delivery])) == (1, 0)
        assert [each.body for each in spool.take()] != [LOG]
    with contextlib.closing(sqlite3.connect(file)) as connection:
        ((digest,),) = connection.execute("SELECT digest FROM komos_deliveries")
    assert digest != delivery.digest
    for path in tmp_path.iterdir():
        assert SECRET.encode() not in path.read_bytes()


def test_receiver_redacts_a_delivery_once_its_signature_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__REDACT__RULES", "email")
    with Receiver(tmp_path, f"sqlite:///{tmp_path / 'spool.db'}") as receiver:
        assert receiver.post(LOG).status_code == 204
        (body,) = receiver.bodies()
    assert json.loads(body)["logEntries"][0]["message"] == "[email]"
    for path in tmp_path.iterdir():
        assert SECRET.encode() not in path.read_bytes()
