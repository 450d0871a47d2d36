"""Bodies of logs, as the API sends them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from komos_source.decoding.parse import RunLog, parse_log

RUN = "9c77d908-7bf4-4e7f-9a20-2c5e7fdf2e94"
SEEN_AT = datetime(2025, 10, 14, tzinfo=UTC)


def body_of(entries: Any, **more: Any) -> bytes:
    return json.dumps({"runId": RUN, "logEntries": entries, **more}).encode()


def body_of_text(entries: str) -> bytes:
    return f'{{"runId":"{RUN}","logEntries":[{entries}]}}'.encode()


def parse(body: bytes) -> RunLog:
    return parse_log(body, RUN, SEEN_AT)
