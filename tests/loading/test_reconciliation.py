import pytest

from komos_source.loading.reconciliation import find_mismatches


@pytest.mark.parametrize(
    ("emitted", "loaded", "missing"),
    [
        ({}, {}, {}),
        ({"a": 2}, {"a": 2, "b": 9}, {}),
        ({"a": 2, "b": 1}, {"a": 1, "b": 1}, {"a": "2 entries were emitted, 1 were loaded"}),
        ({"a": 2}, {}, {"a": "2 entries were emitted, 0 were loaded"}),
        ({"a": 2}, {"a": 3}, {"a": "2 entries were emitted, 3 were loaded"}),
    ],
)
def test_find_mismatches_names_each_run_with_another_count(
    emitted: dict[str, int], loaded: dict[str, int], missing: dict[str, str]
) -> None:
    assert find_mismatches(emitted, loaded) == missing
