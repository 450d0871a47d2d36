"""The messages for errors that dlt and destinations raise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dlt
import duckdb
import pytest
from dlt.load.exceptions import LoadClientJobFailed
from dlt.pipeline.exceptions import PipelineStepFailed

from komos_source.destinations.error_messages import (
    describe_cause,
    describe_error,
    mask_secrets,
    translate_errors,
    wrapped_error,
)
from komos_source.destinations.pipeline import make_pipeline
from komos_source.exceptions import DestinationError, UsageError


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def failed_job(cause: Exception) -> Exception:
    """As dlt reports a job: with a traceback for a message, and the exception as an attribute."""
    traceback = f"Traceback (most recent call last):\n  File 'x.py', line 1, in run\n{cause}"
    return LoadClientJobFailed("1", "task_run_logs.1.parquet", traceback, cause)


REFUSED = OSError("connection to server failed: Connection refused\n\tIs the server running?")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (REFUSED, "connection to server failed: Connection refused"),
        (ValueError("\n  two words  \n"), "two words"),
        (KeyError("name"), "KeyError 'name'"),
        (ValueError(), "ValueError"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (ValueError("word " * 100), "word " * 59 + "word…"),
        (
            ValueError("cannot reach postgresql://u:p@ss/w@h/db"),
            "cannot reach postgresql://***@h/db",
        ),
    ],
)
def test_describe_cause_is_one_short_line(error: Exception, sentence: str) -> None:
    assert describe_cause(error) == sentence


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://loader:CANARY@host:5432/db",
        "snowflake://u:CANARY@account/db?role=x",
        "md:///db?motherduck_token=CANARY",
        "host=h password=CANARY dbname=d",
        "{'aws_secret_access_key': 'CANARY'}",
        "api_key: CANARY",
    ],
)
def test_mask_secrets_masks_them(text: str) -> None:
    assert "CANARY" not in mask_secrets(text)


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (REFUSED, "the destination postgres cannot be used: connection to server failed"),
        (failed_job(REFUSED), "the destination postgres cannot be used: connection to server"),
        (
            caused(RuntimeError("a long text"), failed_job(REFUSED)),
            "the destination postgres cannot be used: connection to server failed",
        ),
    ],
)
def test_describe_error_gives_the_root_cause_and_advice(error: Exception, start: str) -> None:
    sentence = describe_error(error, "postgres")
    assert sentence.startswith(start)
    assert "(`komos check --destination postgres` tests the destination" in sentence
    assert sentence.endswith("[destination.postgres] in .dlt/secrets.toml)")
    assert "Traceback" not in sentence


@pytest.mark.parametrize(
    ("step", "start"),
    [
        ("extract", "reading the API failed: out of range"),
        ("normalize", "preparing the rows for duckdb failed: out of range"),
        ("load", "loading into duckdb failed: out of range"),
        ("sync", "the destination duckdb cannot be used: out of range"),
    ],
)
def test_describe_error_names_the_step(step: str, start: str, tmp_path: Path) -> None:
    pipeline = dlt.pipeline("steps", pipelines_dir=str(tmp_path))
    error = PipelineStepFailed(pipeline, step, "1", ValueError("out of range"))  # type: ignore[arg-type]
    assert describe_error(error, "duckdb").startswith(start)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda error: caused(RuntimeError("outer"), error),
        lambda error: ExceptionGroup("tasks", [ValueError("other"), error]),
        lambda error: caused(RuntimeError("outer"), ExceptionGroup("tasks", [error])),
        failed_job,
    ],
)
def test_wrapped_error_finds_an_error_of_this_package(
    wrap: Callable[[Exception], Exception],
) -> None:
    error = UsageError("run_ids is empty")
    assert wrapped_error(wrap(error)) is error


def test_wrapped_error_without_one_is_none() -> None:
    assert wrapped_error(caused(RuntimeError("outer"), ValueError("inner"))) is None


def test_load_into_a_column_of_another_type_reports_one_sentence(tmp_path: Path) -> None:
    database = tmp_path / "data.duckdb"
    rows = [{"id": "1", "name": "not a number"}]
    for _ in range(2):
        pipeline = make_pipeline(pipelines_dir=str(tmp_path), database=str(database))
        tasks = dlt.resource(rows, name="tasks", primary_key="id", write_disposition="merge")
        if not database.exists():
            pipeline.run(tasks)
            with duckdb.connect(str(database)) as connection:
                connection.execute("ALTER TABLE komos.tasks ALTER name TYPE INTEGER USING 1")
            continue
        with pytest.raises(DestinationError) as raised, translate_errors(pipeline):
            pipeline.run(tasks)
        message = str(raised.value)
        assert message.startswith("loading into duckdb failed: Conversion Error: Could not convert")
        assert "\n" not in message
        assert len(message) < 450
