"""The public names of the package, and their modules."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import komos_source

PUBLIC = {
    "komos_source": {
        "KomosClient",
        "LoadResult",
        "__version__",
        "after_shards",
        "follow",
        "komos_source",
        "load",
        "load_shard",
        "make_pipeline",
        "prune",
        "PruneResult",
        "redact",
        "RedactResult",
        # errors
        "AnswerError",
        "ApiUnreachableError",
        "AuthenticationError",
        "ConfigurationError",
        "DestinationError",
        "KomosError",
        "LockedError",
        "NotVisibleError",
        "RequestError",
        "SpoolError",
        "UsageError",
    },
    "komos_source.alerts": {"Delivery", "notify"},
    "komos_source.webhooks": {"create_app", "verify", "Spool"},
    "komos_source.destinations": {"adapt_to_destination"},
}


@pytest.mark.parametrize("module", PUBLIC)
def test_all_lists_exactly_the_public_names(module: str) -> None:
    assert set(importlib.import_module(module).__all__) == PUBLIC[module]


@pytest.mark.parametrize("module", PUBLIC)
def test_each_public_name_can_be_imported(module: str) -> None:
    package = importlib.import_module(module)
    for name in PUBLIC[module]:
        assert getattr(package, name) is not None


def test_load_stays_a_function_after_its_modules_are_imported() -> None:
    script = (
        "import komos_source.loading.load; from komos_source import load; assert callable(load)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_import_of_the_package_does_not_import_dlt() -> None:
    script = "import sys, komos_source; assert 'dlt' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("function", ["komos_source", "load", "follow", "load_shard"])
def test_signatures_hold_no_internals(function: str) -> None:
    parameters = inspect.signature(getattr(komos_source, function)).parameters
    assert not {"ledger", "metrics"} & parameters.keys()
