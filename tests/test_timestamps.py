from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.timestamps import (
    parse_http_date,
    parse_optional_timestamp,
    parse_retry_after,
    parse_timestamp,
)

NOW = datetime(2025, 10, 14, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-10-14T18:22:03.489Z", datetime(2025, 10, 14, 18, 22, 3, 489000, UTC)),
        ("2025-10-14T20:22:03+02:00", datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)),
        ("2025-10-14T18:22:03", datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)),
        ("2025-10-14", datetime(2025, 10, 14, tzinfo=UTC)),
        ("2025-10-14T18:22:03.4891239Z", datetime(2025, 10, 14, 18, 22, 3, 489123, UTC)),
        ("2025-10-14t18:22:03z", datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)),
        (" 2025-10-14T18:22:03Z\n", datetime(2025, 10, 14, 18, 22, 3, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31T23:59:60.5z", datetime(2017, 1, 1, 0, 0, 0, 500_000, UTC)),
        ("20170101T005960+0100", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2025-10-14T24:00:00Z", datetime(2025, 10, 15, tzinfo=UTC)),
        ("2025-10-14 24:00", datetime(2025, 10, 15, tzinfo=UTC)),
        ("2025-12-31T24:00:00.000+02:00", datetime(2025, 12, 31, 22, tzinfo=UTC)),
    ],
)
def test_parse_timestamp_of_iso_text_is_utc(text: str, moment: datetime) -> None:
    assert parse_timestamp(text) == moment


UNSET = [
    "",
    " ",
    "0001-01-01T00:00:00Z",  # Go's zero time
    "0001-01-01T00:00:00.0000000",  # .NET's
    "0001-01-01T00:00:00+05:00",
    "0000-12-31T19:03:58-04:56",
    "0000-00-00 00:00:00",  # MySQL's
]


@pytest.mark.parametrize("text", UNSET)
def test_parse_optional_timestamp_zero_time_is_none(text: str) -> None:
    assert parse_optional_timestamp(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *UNSET,
        "yesterday",
        "2025-02-30",
        "2025-10-14T24:00:01Z",
        "2025-10-14T18:60:60Z",
        "9999-12-31T24:00:00Z",
        "9999-12-31T23:59:59-09:00",
    ],
)
def test_parse_timestamp_no_time_raises_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1", 1.0),
        (" 30 ", 30.0),
        ("Tue, 14 Oct 2025 18:00:07 GMT", 7.0),
        ("Tue, 14 Oct 2025 17:00:00 GMT", 0.0),
        ("soon", None),
        ("-1", None),
        ("99999999999999999999", 999_999_999.0),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None),
        (None, None),
    ],
)
def test_parse_retry_after_reads_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "age", "moment"),
    [
        ("Tue, 14 Oct 2025 18:00:00 GMT", None, NOW),
        ("Tue, 14 Oct 2025 20:00:00 +0200", None, NOW),
        ("Tue, 14 Oct 2025 18:00:00 GMT", "60", NOW - timedelta(seconds=60)),
        ("Tue, 14 Oct 2025 18:00:00 GMT", "-60", NOW),
        ("Tue, 14 Oct 2025 18:00:00 GMT", "old", NOW),
        ("14.10.2025", None, None),
        ("", None, None),
        (None, "60", None),
        ("Mon, 01 Jan 99999999999999 00:00:00 GMT", None, None),
        ("Fri, 31 Dec 9999 23:59:59 -0100", None, None),
        ("Tue, 14 Oct 2025 18:00:00 +99999999999", None, None),
    ],
)
def test_parse_http_date_is_utc_less_age_or_none(
    text: str | None, age: str | None, moment: datetime | None
) -> None:
    assert parse_http_date(text, age) == moment


@given(st.text(st.sampled_from("Mon,Jan GMT0123456789:+-٣"), max_size=40), st.text(max_size=12))
def test_parse_http_date_of_any_text_raises_nothing(text: str, age: str) -> None:
    parse_http_date(text, age)
    parse_retry_after(text, NOW)
