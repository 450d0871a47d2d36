from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from komos_source.exceptions import UsageError
from komos_source.shard import Shard


@given(st.text(), st.integers(1, 200))
def test_shard_holds_each_id_in_exactly_one_bucket(identity: str, of: int) -> None:
    assert sum(Shard(bucket, of).holds(identity) for bucket in range(of)) == 1


def test_shard_bucket_of_an_id_is_constant() -> None:
    ids = ["", "a", "6513270e-269e-4d37-b2a7-4de452e6b438", "ü"]
    buckets = [next(b for b in range(64) if Shard(b, 64).holds(each)) for each in ids]
    assert buckets == [
        52,
        47,
        22,
        55,
    ]


def test_shard_buckets_hold_about_equally_many_ids() -> None:
    held = [sum(Shard(b, 8).holds(f"task {n}") for n in range(8_000)) for b in range(8)]
    assert 800 < min(held) <= max(held) < 1_200


@pytest.mark.parametrize("text", ["", "3", "3/", "/4", "a/b", "-1/4", "3 / 4", "1/2/3", "٣/4"])
def test_parse_of_text_that_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shard"):
        Shard.parse(text)


@pytest.mark.parametrize("text", ["4/4", "0/0"])
def test_parse_of_a_bucket_beyond_the_last_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the first is 0/N, the last N-1/N"):
        Shard.parse(text)


def test_only_returns_the_ids_of_the_shard_and_none_for_none() -> None:
    shard = Shard.parse("1/2")
    assert shard.only(None) is None
    ids = [f"{n}" for n in range(100)]
    both = [*(shard.only(ids) or ()), *(Shard(0, 2).only(ids) or ())]
    assert sorted(both) == sorted(ids)
