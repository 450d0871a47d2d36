"""Redaction of what was read: the same for API and webhooks, and of no influence on cursors."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from komos_source.api.models import parse_runs, parse_task_page
from komos_source.decoding.parse import RunLog, parse_log
from komos_source.extract.cursor import RunCursor
from komos_source.extract.discovery import Discovery
from komos_source.extract.redact_rows import redact_discovery, redact_log, redact_rows
from komos_source.redaction.redactor import Redactor
from komos_source.redaction.rules import BUILT_IN
from komos_source.tables import TABLES, TASK_RUN_LOG_LOADS

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
NOW = datetime(2025, 10, 14, tzinfo=UTC)
ALL = Redactor(tuple(BUILT_IN.values()))
SECRET = "anna@example.com"


def log_of(*entries: Any) -> RunLog:
    return parse_log(json.dumps({"runId": RUN, "logEntries": entries}).encode(), RUN, NOW)


def entry(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": str(number), "timestamp": None, "level": "info", "nodeId": SECRET, **fields}


LOG = log_of(
    entry(1, message=SECRET, timestamp="2025-10-14T18:22:03Z"),
    entry(2, message=None, more={"to": [SECRET, 4242424242424242]}),
    entry(3, message={"text": SECRET}),
    entry(4, message="", timestamp=SECRET),
    SECRET,
    SECRET.replace("anna", "bob"),
)


def test_log_has_its_free_texts_redacted_and_all_else_as_it_was() -> None:
    redacted = redact_log(LOG, ALL)
    rows = redacted.rows.to_pylist()
    assert [row["message"] for row in rows] == ["[email]", None]
    assert json.loads(rows[1]["extra"]) == {"more": {"to": ["[email]", "[credit_card]"]}}
    assert {row["node_id"] for row in rows} == {SECRET}
    rejected = redacted.rejected.to_pylist()
    assert SECRET not in str(rejected)
    assert [json.loads(row["raw"]) for row in rejected[2:]] == ["[email]", "[email]"]
    kept = ["id", "run_id", "position", "timestamp", "level", "node_id"]
    assert redacted.rows.select(kept) == LOG.rows.select(kept)
    assert RunCursor.of(redacted) == RunCursor.of(LOG)


def test_log_redacted_again_stays_as_it_is() -> None:
    once = redact_log(LOG, ALL)
    again = redact_log(once, ALL)
    assert (again.rows, again.rejected) == (once.rows, once.rejected)


def test_rejected_entries_get_ids_of_what_is_left_of_them() -> None:
    ids = redact_log(LOG, ALL).rejected["id"].to_pylist()
    assert len({*ids}) == len(ids)
    assert not {*ids} & {*LOG.rejected["id"].to_pylist()}
    # As of a delivery that was redacted before it was decoded.
    assert log_of("[email]", "[email]").rejected["id"].to_pylist() == ids[-2:]


def test_log_without_rules_stays_the_same_object() -> None:
    assert redact_log(LOG, Redactor()).rows is LOG.rows


def test_details_of_logs_that_could_not_be_read_are_redacted() -> None:
    row = {"run_id": RUN, "settled": False, "outcome": "failed", "detail": f"500 {SECRET}"}
    rows = redact_rows(TASK_RUN_LOG_LOADS, TASK_RUN_LOG_LOADS.from_rows([row]), ALL)
    assert rows["detail"].to_pylist() == ["500 [email]"]


def test_tasks_and_runs_have_their_free_texts_redacted() -> None:
    task = {"id": "t", "name": f"for {SECRET}", "status": "READY", "owner": SECRET}
    run = {
        "id": RUN,
        "status": "FAILED",
        "inputs": {"to": SECRET},
        "outputs": [SECRET],
        "error": f"no {SECRET}",
        "cancelReason": SECRET,
        "logsUrl": f"https://u:p@komos.ai/?mail={SECRET}",
        "timestamps": {"createdAt": "2025-10-14T18:22:03Z", "by": SECRET},
        "more": SECRET,
    }
    runs, _ = parse_runs(json.dumps({"runs": [run]}).encode(), "t")
    page = parse_task_page(json.dumps({"tasks": [task]}).encode())
    found = Discovery(page.tasks, {"t": runs, "u": []}, looked_up=runs, problems=[SECRET])
    redacted = redact_discovery(found, ALL)
    assert SECRET not in str(redacted)
    assert redacted.listed["t"] == redacted.looked_up
    assert (redacted.listed["u"], redacted.looked_up[0].created_at) == ([], runs[0].created_at)
    assert redact_discovery(found, Redactor()) is found


def test_each_json_column_is_redacted() -> None:
    columns = [column for table in TABLES for column in table.columns]
    assert all(column.redacted == "json" for column in columns if column.data_type == "json")
