"""The definitions in `pipelines/` as Dagster imports them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

PIPELINES = Path(__file__).parents[1] / "pipelines"
DEFINITIONS = PIPELINES / "dagster_definitions.py"
INSTANCE_SETTINGS = PIPELINES / "dagster_home" / "dagster.yaml"


def definitions(name: str = DEFINITIONS.stem) -> ModuleType:
    """The module, imported anew: it reads the environment once."""
    spec = importlib.util.spec_from_file_location(name, PIPELINES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
