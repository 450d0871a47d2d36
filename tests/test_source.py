"""The dlt source checks its arguments before any request."""

import math
from pathlib import Path
from typing import Any

import pytest

from komos_source import komos_source, load
from komos_source.exceptions import ConfigurationError, UsageError


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 1e300])
@pytest.mark.parametrize(
    "option", ["settle_after", "give_up_after", "max_concurrency", "backoff", "max_body"]
)
def test_komos_source_refuses_numbers_out_of_range(option: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{option} must be from"):
        komos_source("sk_live_test", **{option: value})


@pytest.mark.parametrize("option", ["max_concurrency", "max_body"])
def test_komos_source_refuses_a_limit_of_zero(option: str) -> None:
    with pytest.raises(UsageError, match=f"{option} must be from 1"):
        komos_source("sk_live_test", **{option: 0})


@pytest.mark.parametrize(("key", "url"), [("a key", None), ("sk_live_test", "http://example.com")])
def test_komos_source_refuses_a_key_or_url_that_cannot_be_used(key: str, url: str | None) -> None:
    with pytest.raises(ConfigurationError):
        komos_source(key, **({"base_url": url} if url else {}))


def test_load_with_a_setting_that_is_no_number_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__KOMOS__MAX_CONCURRENCY", "many")
    message = "SOURCES__KOMOS__MAX_CONCURRENCY is not a number: 'many'"
    with pytest.raises(ConfigurationError, match=message):
        load(api_key="sk_live_x", pipelines_dir=str(tmp_path))
