"""Decodes a run's log: the bytes of an answer in, an Arrow table and rejected entries out.

Pure: no I/O, no clock. A body that is exactly as documented is read by Arrow (`documented`), any
other entry by entry (`lenient`). Both give the same rows for what both accept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from komos_source.decoding.documented import read_documented
from komos_source.decoding.lenient import read_leniently
from komos_source.exceptions import AnswerError
from komos_source.tables import TASK_RUN_LOGS_REJECTED

_NONE_REJECTED = TASK_RUN_LOGS_REJECTED.empty()


@dataclass(frozen=True, slots=True)
class RunLog:
    """One answer of the logs endpoint, decoded.

    Attributes:
        entries: How many entries the answer held, usable or not.
        rows: The usable ones, in the log's order, as `tables.TASK_RUN_LOGS`.
        rejected: The others, as `tables.TASK_RUN_LOGS_REJECTED`.
    """

    entries: int
    rows: pa.Table
    rejected: pa.Table


def parse_log(body: bytes | bytearray, run_id: str, seen_at: datetime) -> RunLog:
    """Decodes the body of ``GET /task-runs/{run_id}/logs`` or of a ``task-run.log`` webhook.

    Args:
        body: The answer's body.
        run_id: The run that was requested.
        seen_at: When the answer was given; stored with rejected entries.

    Raises:
        NotJsonError: The body is not JSON.
        AnswerError: It is JSON of another shape, or the log of another run.
    """
    rows = read_documented(body, run_id)
    if rows is not None:
        return RunLog(len(rows), rows, _NONE_REJECTED)
    try:
        return RunLog(*read_leniently(body, run_id, seen_at))
    except RecursionError as error:
        raise AnswerError("the answer is nested too deeply to be a log") from error
