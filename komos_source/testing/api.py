"""What the API answers to a request: pure routing over a world."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from komos_source.testing.world import FakeKomos


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer before it is written to a socket."""

    status: int
    body: bytes
    content_type: str = "application/json"


def reply(world: FakeKomos, method: str, target: str, *, authorised: bool) -> Reply:
    """The answer to one request."""
    url = urlsplit(target)
    match url.path.removeprefix("/public/v1").split("/")[1:]:
        case _ if not url.path.startswith("/public/v1/"):
            return _refuse(404, "Not Found")
        case _ if not authorised:
            return _refuse(401, "invalid_api_key")
        case ["tasks", task_id, "runs"] if method in {"GET", "POST"}:
            if not _is_uuid(task_id):
                return _refuse(400, "invalid_task_id")
            if all(task["id"] != task_id for task in world.tasks()):
                return _refuse(404, "task_not_found")
            if method == "POST":
                return _json({"run": world.run(world.start_run(task_id))}, 201)
            return _json({"runs": world.visible_runs(task_id)})
        case _ if method != "GET":
            return _refuse(405, "Method Not Allowed")
        case ["tasks"]:
            return _tasks(world, parse_qs(url.query))
        case ["task-runs", run_id, *rest] if rest in ([], ["logs"]):
            if not _is_uuid(run_id):
                return _refuse(400, "invalid_run_id")
            run = world.run(run_id)
            if run is None:
                return _refuse(404, "run_not_found")
            return Reply(200, world.log_body(run_id)) if rest else _json({"run": run})
        case _:
            return _refuse(404, "Not Found")


def _tasks(world: FakeKomos, query: dict[str, list[str]]) -> Reply:
    try:
        limit = int(query.get("limit", ["20"])[0])
        offset = int(query.get("offset", ["0"])[0])
    except ValueError:
        limit = offset = -1
    if not 1 <= limit <= 100 or offset < 0:  # noqa: PLR2004 - the API's own bounds
        detail = {"loc": ["query", "limit"], "msg": "Input should be from 1 to 100", "type": "int"}
        return _refuse(422, [detail])
    search = query.get("search", [""])[0].lower()
    status = query.get("status", [None])[0]
    tasks = [
        task
        for task in world.tasks()
        if search in task["name"].lower() and status in {None, task["status"]}
    ]
    return _json({"tasks": tasks[offset : offset + limit], "total": len(tasks)})


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _refuse(status: int, detail: Any) -> Reply:
    return Reply(status, json.dumps({"detail": detail}).encode())


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode())
