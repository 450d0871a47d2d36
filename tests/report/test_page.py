"""``komos report``: the page, its file, and its messages."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from komos_source.analytics import open_database, query
from komos_source.analytics.file_copy import write_copy
from komos_source.exceptions import DestinationError, UsageError
from komos_source.report import write_report
from komos_source.testing import FakeKomos, make_sample_data
from tests.cli.test_commands import komos
from tests.conftest import LoadEnv


@pytest.fixture
def loaded(home: LoadEnv, world: FakeKomos) -> LoadEnv:
    task_id = world.add_task("Orders & <b>more</b>")
    for status in ("COMPLETED", "FAILED"):
        run_id = world.add_run(task_id)
        world.append(run_id, {"nodeId": "click"}, {"nodeId": None})
        if status == "FAILED":
            world.append(run_id, {"nodeId": "click", "level": "error", "message": "<script>1"})
        world.finish(run_id, status)
    assert home.load().exit_code == 0
    return home


def test_report_is_one_file_without_external_references(loaded: LoadEnv) -> None:
    done = komos(
        loaded,
        *("report", "--out", "page.html", "--time-zone", "Asia/Tokyo"),
        SOURCES__KOMOS__RUN_URL="https://komos.example/runs/{run_id}",
    )
    assert done.returncode == 0, done.stderr
    assert "page.html" in done.stdout
    page = (loaded.directory / "page.html").read_text("utf-8")
    assert "days in Asia/Tokyo" in page
    assert "15 October 2025" in page  # at 18:00 UTC Tokyo has the next day
    assert not re.findall(r'(?<!<a )(?:src|href)="(?!#|data:)', page), "but links to Komos"
    assert re.search(r'<a href="https://komos.example/runs/[0-9a-f-]{36}"', page)
    assert "Orders &amp; &lt;b&gt;more" in page
    assert "&lt;script&gt;1" in page
    assert page.count("<script>") == 1


def test_report_changes_neither_database_nor_working_directory(
    loaded: LoadEnv,
) -> None:
    before = loaded.file.read_bytes()
    done = komos(loaded, "report", "--database", str(loaded.file))
    assert done.returncode == 0, done.stderr
    assert loaded.file.read_bytes() == before
    assert (loaded.directory / "komos-report.html").exists()
    assert not list((loaded.directory / "dlt").glob("pipelines/komos*"))


def test_report_without_data_names_the_command_to_run(home: LoadEnv) -> None:
    missing = komos(home, "report", "--database", "nowhere.duckdb")
    assert missing.returncode == 1
    assert "there is no database" in missing.stderr
    assert "komos demo" in missing.stderr
    assert not (home.directory / "nowhere.duckdb").exists()
    home.load()
    empty = komos(home, "report")
    assert empty.returncode == 1
    assert "there is no finished run" in empty.stderr
    other = komos(home, "report", "--dataset", "other")
    assert other.returncode == 1
    assert "there are no Komos tables in the dataset 'other'" in other.stderr
    assert "Traceback" not in missing.stderr + empty.stderr + other.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--out", "no/such/folder.html"], "cannot be written to no/such/folder.html"),
        (["--time-zone", "Mars/Olympus"], "'Mars/Olympus' is no time zone"),
        (["--days", "3"], "--days"),
    ],
)
def test_report_with_wrong_usage_exits_with_2(
    loaded: LoadEnv, arguments: list[str], says: str
) -> None:
    done = komos(loaded, "report", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_report_reads_postgres(
    loaded: LoadEnv, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", postgres_url)
    with pytest.raises(DestinationError, match="there are no Komos tables"):
        write_report(open_database("postgres"), loaded.directory / "postgres.html")
    assert loaded.load(destination="postgres").exit_code == 0
    page = loaded.directory / "postgres.html"
    write_report(open_database("postgres"), page)
    assert "Orders &amp; &lt;b&gt;more" in page.read_text("utf-8")


def test_load_and_report_use_the_file_in_the_current_directory(
    home: LoadEnv, world: FakeKomos
) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {})
    world.finish(run_id)
    for name in ("one", "other"):
        directory = home.directory / name
        directory.mkdir()
        here = LoadEnv(directory, home.emulator)
        data = str(home.directory / "dlt")  # what the first load left there is not followed
        for command in (["load"], ["report"]):
            done = komos(here, *command, DLT_DATA_DIR=data, DESTINATION__DUCKDB__CREDENTIALS="")
            assert done.returncode == 0, done.stderr
        assert here.file.exists()
        assert (directory / "komos-report.html").exists()


HOSTILE = "pay\u202egnp\x1b[2J\nment"
SHOWN = "pay\\u202egnp\\x1b[2J\\nment"


def test_report_shows_control_characters_and_isolates_names(
    home: LoadEnv, world: FakeKomos, tmp_path: Path
) -> None:
    run_id = world.add_run(world.add_task(HOSTILE))
    world.append(run_id, {"nodeId": HOSTILE, "level": "error", "message": HOSTILE})
    world.finish(run_id, "FAILED")
    home.load()
    write_report(open_database(database=home.file), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert not {"\u202e", "\x1b"} & set(page)
    assert f"<bdi>{SHOWN}</bdi>" in page
    assert f'<p dir="auto">{SHOWN}</p>' in page


def test_report_of_a_null_message_shows_it_as_empty(home: LoadEnv, world: FakeKomos) -> None:
    run_id = world.add_run(world.add_task("Orders"))
    world.append(run_id, {"nodeId": "click", "level": "error", "message": None})
    world.finish(run_id, "FAILED")
    home.load()
    write_report(open_database(database=home.file), home.directory / "page.html")
    assert "(empty)" in (home.directory / "page.html").read_text("utf-8")


def test_write_report_to_a_link_is_refused_and_its_target_unchanged(loaded: LoadEnv) -> None:
    target, link = loaded.directory / "precious", loaded.directory / "page.html"
    target.write_text("precious")
    link.symlink_to(target)
    with pytest.raises(UsageError, match="it is a link, a directory or a device"):
        write_report(open_database(database=loaded.file), link)
    assert target.read_text() == "precious"


def test_write_report_is_for_the_owner_only_unless_it_replaces_a_shared_file(
    loaded: LoadEnv,
) -> None:
    page = loaded.directory / "page.html"
    write_report(open_database(database=loaded.file), page)
    assert page.stat().st_mode & 0o777 == 0o600
    page.chmod(0o644)
    write_report(open_database(database=loaded.file), page)
    assert page.stat().st_mode & 0o777 == 0o644


def test_report_and_database_written_anew_keep_their_owner(loaded: LoadEnv) -> None:
    # Only root can give a file to another user.
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    page, database = loaded.directory / "page.html", loaded.directory / "copy.duckdb"
    open_database(database=loaded.file).copy_to(database)
    write_report(open_database(database=database), page)
    for file in (page, database):
        os.chown(file, *owner)
    write_report(open_database(database=database), page)
    write_copy(database, database, keep_access=True)
    for file in (page, database):
        assert (file.stat().st_uid, file.stat().st_gid) == owner


def test_copy_of_the_database_is_for_the_owner_only_also_if_it_replaces_a_shared_file(
    loaded: LoadEnv,
) -> None:
    copy = loaded.directory / "copy.duckdb"
    for _ in range(2):
        open_database(database=loaded.file).copy_to(copy)
        assert copy.stat().st_mode & 0o777 == 0o600
        copy.chmod(0o644)


def test_write_report_that_fails_leaves_the_earlier_page_and_no_other_file(
    loaded: LoadEnv, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = loaded.directory / "page.html"
    page.write_text("earlier")
    before = sorted(loaded.directory.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    database = open_database(database=loaded.file)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UsageError, match=r"cannot be written to .*: No space left on device"):
        write_report(database, page)
    assert page.read_text() == "earlier"
    assert sorted(loaded.directory.iterdir()) == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_report_and_check_of_a_truncated_database_report_the_damage(
    loaded: LoadEnv, share: float
) -> None:
    whole = loaded.file.read_bytes()
    loaded.file.write_bytes(whole[: int(len(whole) * share)])
    report, check = komos(loaded, "report"), komos(loaded, "check")
    assert "Traceback" not in report.stderr + check.stderr
    assert check.returncode == 1
    assert re.search(r"failed  destination: .*(damaged|cannot be opened)", check.stdout)
    if report.returncode:  # otherwise what it reads is in the part that is left
        assert re.search("is damaged|cannot be opened", report.stderr)


def _page(home: LoadEnv, **options: Any) -> str:
    write_report(open_database(database=home.file), home.directory / "page.html", **options)
    text = (home.directory / "page.html").read_text("utf-8")
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("_<wbr>", "_")


def _run(
    world: FakeKomos, task_id: str, day: int, message: str = "Slow", *, month: int = 10
) -> None:
    started = datetime(2025, month, day, 12, tzinfo=UTC)
    run_id = world.add_run(task_id, created_at=started)
    world.append(
        run_id,
        {"nodeId": "click", "timestamp": started.isoformat()},
        {
            "nodeId": "click",
            "level": "warning",
            "message": message,
            "timestamp": started.isoformat(),
        },
    )
    world.finish(run_id, at=started + timedelta(minutes=1))


def test_report_says_first_that_the_data_ends_long_ago(loaded: LoadEnv) -> None:
    page = _page(loaded)
    said = page.index('<p class="stale">The data ends ')
    assert "the newest run started on 14 October 2025." in page
    assert said < page.index("<h1>")


def test_report_of_recent_data_does_not_speak_of_its_age(home: LoadEnv) -> None:
    home.emulator.world = make_sample_data(days=3, end=datetime.now(UTC))
    home.load()
    page = _page(home)
    assert 'class="stale"' not in page


def test_report_of_more_days_than_are_loaded_shows_those_loaded(
    home: LoadEnv, world: FakeKomos
) -> None:
    task_id = world.add_task("Orders")
    for day in (4, 7, 14):
        _run(world, task_id, day)
    home.load()
    page = _page(home, days=56)
    assert "4 October 2025 to 14 October 2025" in page
    assert "no older run is loaded: 11 of 56 days" in page
    assert page.count("14 Oct: 1 of 1 runs</title>") > 0
    assert "no older run" not in _page(home, days=11)


def test_report_marks_days_before_the_first_run_of_a_task_as_not_loaded(
    home: LoadEnv, world: FakeKomos
) -> None:
    early, late = world.add_task("Early"), world.add_task("Late")
    for day in (4, 14):
        _run(world, early, day)
    for day in (12, 14):
        _run(world, late, day)
    home.load()
    (late_row,) = re.findall(rf'<tr data-task="{late}"[^>]*><th>.*?</tr>', _page(home), re.DOTALL)[
        :1
    ]
    assert late_row.count("no run of the task is loaded") == 8
    assert late_row.count(": no visit") == 1
    assert "13 Oct: no visit" in late_row


def test_report_names_a_task_that_has_stopped_apart_from_those_that_were_read(
    home: LoadEnv, world: FakeKomos
) -> None:
    running, stopped, gone = (world.add_task(name) for name in ("Running", "Stopped", "Gone"))
    _run(world, gone, 1, month=8)
    _run(world, stopped, 5)
    for day in (4, 14):
        _run(world, running, day)
    home.load()
    section = _page(home).split('<section class="coverage">')[1].split("</section>")[0]
    read, silent = section.split("2 tasks have not run for a week or longer")
    assert "Everything the API showed of tasks that run has been read" in read
    assert ">Running<" in read
    assert ">Stopped<" not in read
    assert silent.index(">Gone<") < silent.index(">Stopped<")


def test_report_lists_the_known_problems(
    home: LoadEnv, world: FakeKomos, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(world, world.add_task("Orders"), 14)
    home.load()
    monkeypatch.chdir(home.directory)
    (home.directory / "komos.toml").write_text(
        '[[known_problem]]\ntask = "Orders"\nreason = "<redesigned>"\nuntil = 2999-01-01\n'
        '[[known_problem]]\nreason = "over"\nuntil = 2020-01-01\n'
    )
    page = _page(home)
    assert "&lt;redesigned&gt; (until 2999-01-01 00:00 UTC)" in page
    assert "over (until" not in page


def test_report_query_and_view_agree_on_what_is_new_since_a_day(
    home: LoadEnv, world: FakeKomos
) -> None:
    task_id = world.add_task("Orders")
    _run(world, task_id, 1, "Known", month=8)
    for day, message in ((6, "Blocked"), (7, "Known"), (9, "Gone"), (14, "Known")):
        _run(world, task_id, day, message)
    home.load()
    database, monday = open_database(database=home.file), datetime(2025, 10, 6, tzinfo=UTC)
    for options in ({}, {"since": monday}, {"since": datetime(2025, 9, 1, tzinfo=UTC)}):
        found = query(database, "message_templates", new_since=monday, **options)
        assert {*found.loc[found["new_in_window"], "template"]} == {"Blocked", "Gone"}
    assert home.rows(
        "SELECT template FROM message_templates WHERE first_seen_anywhere >= '2025-10-06 00:00Z' "
        "AND task_first_run_at < '2025-10-06 00:00Z' ORDER BY 1"
    ) == [("Blocked",), ("Gone",)]
    page = _page(home, new_since="2025-10-06")
    assert '<dt>new messages</dt><dd>2</dd><dd class="note">since 2025-10-06 00:00</dd>' in page
    assert "<dt>new messages</dt><dd>0</dd>" in _page(home)
    with pytest.raises(UsageError, match="'Monday' is no time: give an ISO 8601 date"):
        _page(home, new_since="Monday")


def test_report_titles_name_the_first_row_of_their_tables(home: LoadEnv, world: FakeKomos) -> None:
    task_id = world.add_task("Orders")
    for day in (4, 14):
        started = datetime(2025, 10, day, 12, tzinfo=UTC)
        run_id = world.add_run(task_id, created_at=started)
        for node in ("z", "b", "a"):
            world.append(run_id, {"nodeId": node, "level": "error", "message": f"{node} has gone"})
        world.finish(run_id, "FAILED", at=started + timedelta(minutes=1))
    home.load()
    page = _page(home)
    ranking = page.split('<section class="ranking">')[1]
    leader = re.search(r"<h2>(\w) leads", ranking)
    first = re.search(r'<a class="node"[^>]*><b><bdi>(\w)</bdi>', ranking)
    assert leader
    assert first
    assert leader[1] == first[1]


def test_report_of_a_single_day_compares_nothing(loaded: LoadEnv) -> None:
    page = _page(loaded)
    assert "<h1>There is nothing to compare the last 2 days with: no earlier run is loaded." in page
    assert "cannot be compared yet" in page
    assert '<span class="state new">' not in page.split('<section class="messages">')[0]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_report_of_null_messages_and_nodes_is_written(
    home: LoadEnv, world: FakeKomos, level: str
) -> None:
    task_id = world.add_task("Orders")
    for day in (4, 14):
        _run(world, task_id, day)
    run_id = world.add_run(task_id)
    world.append(run_id, {"nodeId": None, "level": level, "message": None})
    world.finish(run_id, "FAILED")
    home.load()
    home.rows("UPDATE task_run_logs SET message = NULL WHERE node_id IS NULL")
    page = _page(home)
    assert "(empty)" in page
    assert "nan" not in re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL).lower()
