"""A Postgres role with a time zone of its own: analyses give the same as in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy

from komos_source.analytics import (
    failure_precursors,
    node_regressions,
    open_database,
    query,
    run_checks,
)
from komos_source.report import write_report
from komos_source.testing import Emulator, make_sample_data
from tests.conftest import LoadEnv

END = datetime(2026, 4, 8, 9, 30, tzinfo=UTC)
"""Ten days after clocks in Europe changed: both offsets are in the data."""


def test_analyses_in_a_session_with_summer_time_are_those_in_utc(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    with Emulator(make_sample_data(end=END)) as emulator:
        LoadEnv(tmp_path, emulator).load(destination="postgres")
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    database_name = sqlalchemy.make_url(postgres_url).database
    found = {}
    for zone in ("UTC", "Europe/Berlin", "America/Sao_Paulo"):
        with engine.connect() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {database_name} SET timezone = '{zone}'")
        database = open_database("postgres")
        page = tmp_path / "report.html"
        write_report(database, page)
        text = re.sub("<footer>.*?</footer>", "", page.read_text())  # says when it was written
        frames = [
            query(database, name).sort_values(key, ignore_index=True)
            for name, key in (
                ("node_health", ["task_id", "node_id"]),
                ("node_health_daily", ["task_id", "node_id", "day"]),
            )
        ]
        frames += [node_regressions(database), failure_precursors(database)]
        found[zone] = (frames, text, [(each.name, each.passed) for each in run_checks(database)])
    engine.dispose()
    frames, text, checks = found.pop("UTC")
    for others, other_text, other_checks in found.values():
        for frame, other in zip(frames, others, strict=True):
            pd.testing.assert_frame_equal(frame, other)
        assert text == other_text
        assert checks == other_checks
