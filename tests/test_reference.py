"""The reference that is made from the code: options of commands, settings, limits, Python API.

`make golden` writes it: the pages in `docs/python`, and on other pages the table between
``<!-- generated: options komos load -->`` (or ``settings api_key …``, ``limits``) and
``<!-- end -->``.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import komos_source
from komos_source.analytics import Limits
from komos_source.config import Setting
from tests.test_docs import COMMANDS, ROOT, SELECTION, command_page

DOCS = ROOT / "docs"
MARKED = re.compile(r"(?<=<!-- generated: )(\w+) ?(.*?)( -->\n\n).*?(?=<!-- end -->)", re.DOTALL)
PYTHON = {
    "loads": ("Loads", "", "load follow LoadResult"),
    "shards": ("Loads in shards", "", "load_shard after_shards"),
    "upkeep": ("Retention and redaction", "", "prune PruneResult redact RedactResult"),
    "source": ("The dlt source", "", "komos_source make_pipeline"),
    "files": ("Files in a pipeline of one's own", "destinations", "adapt_to_destination"),
    "client": ("API client", "", "KomosClient"),
    "errors": (
        "Errors",
        "",
        "KomosError UsageError ConfigurationError AuthenticationError ApiUnreachableError "
        "LockedError DestinationError SpoolError RequestError NotVisibleError AnswerError",
    ),
    "queries": ("Queries and views", "analytics", "open_database Database query create_views"),
    "analyses": ("Analyses", "analytics", "node_regressions incidents failure_precursors"),
    "checks": ("Checks", "analytics", "run_checks CheckResult Limits"),
    "alerts": ("Alerts", "alerts", "notify Delivery"),
    "webhooks": ("Webhooks", "webhooks", "create_app verify Spool"),
    "emulator": ("The emulator", "testing", "Emulator FakeKomos WorldClock"),
    "faults": ("Faults and webhooks of the emulator", "testing", "Faults Fault Webhooks"),
    "sample-data": (
        "Sample data",
        "testing",
        "make_sample_data PlantedPatterns bulk_world grow",
    ),
}
"""Pages of `docs/python`: title, package and names."""


def with_links(text: str, page: Path) -> str:
    """A docstring as Markdown on a page: ``docs/tables.md`` is a link."""
    return re.sub(
        r"docs/([\w/-]+\.md)(#[\w-]+)?",
        lambda link: f"[{Path(link[1]).stem}]({relative(link[1], page)}{link[2] or ''})",
        re.sub(r"``([^`]+)``", r"`\1`", text),
    )


def marked_up(text: str, page: Path) -> str:
    """A text as Markdown in a table; options and variables are code."""
    parts = re.split(r"(`[^`]*`)", with_links(" ".join(text.split()), page))
    code = re.compile(r"(?<![\w/])(?:[A-Z]+__[\w…]+|KOMOS_\w+|--[a-z-]+)")
    parts[::2] = [code.sub(r"`\g<0>`", part) for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


def relative(target: str, page: Path) -> str:
    return Path(os.path.relpath(DOCS / target, page.parent)).as_posix()


def table(header: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in [header.split(), *rows]]
    return "\n".join([lines[0], "|---" * len(header.split()) + "|", *lines[1:]]) + "\n"


def shown(value: Any) -> str:
    """A default, as code."""
    if value is None or value is dataclasses.MISSING or value is inspect.Parameter.empty:
        return "–"
    if isinstance(value, int) and value >= 2**20 and value % 2**20 == 0:
        return f"{value // 2**20} MiB" if value % 2**30 else f"{value // 2**30} GiB"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, datetime):
        return f"`{value.isoformat()}`"
    if isinstance(value, Path):
        return f"`{value}`"
    if isinstance(value, type):
        return f"`{value.__name__}`"
    return f"`{value!r}`" if isinstance(value, str | bool | tuple) else str(value)


# Commands.


def option_row(option: click.Option, page: Path) -> list[str]:
    names = [*option.opts, *option.secondary_opts]
    kind, meaning = option.type, marked_up(option.help or "", page)
    metavar = "" if option.is_flag else f" {option.metavar or str(option.name).upper()}"
    if isinstance(kind, click.Choice):
        meaning += f" One of {', '.join(f'`{choice}`' for choice in kind.choices)}."
    elif isinstance(kind, click.IntRange) and None not in (kind.min, kind.max):
        meaning += f" From {kind.min} to {kind.max}."
    if option.show_envvar:
        meaning += f" Also `{option.envvar}`."
    if isinstance(option.show_default, str):
        default = marked_up(option.show_default, page)
    elif option.secondary_opts:
        default = f"`{option.opts[0] if option.default else option.secondary_opts[0]}`"
    elif option.required:
        default = "required"
    else:
        default = shown(option.default).replace("'", "") if option.show_default else "–"
    return [", ".join(f"`{name}{metavar}`" for name in names), default, meaning]


def options(command: str, page: Path) -> str:
    found = [each for each in COMMANDS[command].params if isinstance(each, click.Option)]
    return table("option default meaning", [option_row(each, page) for each in found])


# Docstrings.


def sections(documented: Any) -> dict[str, str]:
    """The sections of a Google-style docstring; the text before them is that of the name ''."""
    parts = re.split(
        r"^(Args|Attributes|Returns|Raises):\n", inspect.getdoc(documented) or "", flags=re.M
    )
    return {"": parts[0].strip()} | {
        name: inspect.cleandoc(f"\n{text}")
        for name, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def items(text: str) -> dict[str, str]:
    """The entries ``name: description`` of a section."""
    parts = re.split(r"^(\w+): ", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def annotation(value: Any) -> str:
    if value in (inspect.Parameter.empty, None, "None"):
        return "–"
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    return f"`{text.replace(' | ', ' or ')}`"


def arguments(function: Any, described: Mapping[str, str], page: Path) -> str:
    rows = [
        [
            f"`{'**' if each.kind is each.VAR_KEYWORD else ''}{name}`",
            annotation(each.annotation),
            "configured" if "awaiting injection" in str(each.default) else shown(each.default),
            marked_up(described[name], page),
        ]
        for name, each in inspect.signature(function).parameters.items()
    ]
    return table("argument type default meaning", rows)


def attributes(cls: type, described: Mapping[str, str], page: Path) -> str:
    types: dict[str, Any] = {}
    if cls.__init__ is not object.__init__:
        parameters = inspect.signature(cls.__init__).parameters.values()
        types = {each.name: each.annotation for each in parameters}
    for base in cls.__mro__[::-1]:
        types |= inspect.get_annotations(base)
    defaults = (
        {each.name: each.default for each in dataclasses.fields(cls)}
        if dataclasses.is_dataclass(cls)
        else {}
    )
    rows = [
        [f"`{name}`", annotation(types.get(name)), shown(defaults.get(name)), marked_up(text, page)]
        for name, text in described.items()
    ]
    return table("attribute type default meaning", rows)


def methods(cls: type, page: Path) -> str:
    rows = []
    for name, each in vars(cls).items():
        if name.startswith("_") or not (callable(each) or isinstance(each, property)):
            continue
        function: Any = each.fget if isinstance(each, property) else inspect.unwrap(each)
        signature = inspect.signature(function)
        names = [str(p).split(":")[0].split("=")[0] for p in [*signature.parameters.values()][1:]]
        call = name if isinstance(each, property) else f"{name}({', '.join(names)})"
        rows.append(
            [
                f"`{call}`",
                annotation(signature.return_annotation),
                marked_up(sections(function)[""], page),
            ]
        )
    return table("method returns meaning", rows) if rows else ""


def described(name: str, documented: Any, page: Path) -> Iterator[str]:
    """The paragraphs about a public name."""
    found = sections(documented)
    is_error = inspect.isclass(documented) and issubclass(documented, Exception)
    yield f"## {name}\n"
    yield with_links(found[""], page) + "\n"
    if is_error and documented.__mro__[1] is not Exception:
        yield f"A subclass of `{documented.__mro__[1].__name__}`.\n"
    if "Args" in found:
        yield arguments(documented, items(found["Args"]), page)
    if "Attributes" in found:
        yield attributes(documented, items(found["Attributes"]), page)
    if inspect.isclass(documented) and not is_error and not issubclass(documented, Enum):
        yield methods(documented, page)
    if not inspect.isclass(documented):
        kind = annotation(inspect.signature(documented).return_annotation)
        returned = with_links(found.get("Returns", ""), page)
        yield f"Returns {kind}: {returned}".removesuffix(": ") + "\n"
    if "Raises" in found:
        yield "Raises:\n"
        yield (
            "\n".join(
                f"- `{each}`: {marked_up(text, page)}"
                for each, text in items(found["Raises"]).items()
            )
            + "\n"
        )


def package(name: str) -> ModuleType:
    return importlib.import_module(f"komos_source.{name}".rstrip("."))


def python_pages() -> dict[Path, str]:
    pages = {}
    for stem, (title, where, names) in PYTHON.items():
        page, module = DOCS / "python" / f"{stem}.md", package(where)
        lines = [f"# {title}\n", f"    from {module.__name__} import {', '.join(names.split())}\n"]
        for name in names.split():
            lines += filter(None, described(name, getattr(module, name), page))
        pages[page] = "\n".join(lines)
    return pages


# Settings.


@cache
def settings() -> dict[str, tuple[str, str]]:
    """Default and meaning of each setting: those of the source, and each `Setting`."""
    parameters = inspect.signature(komos_source.komos_source).parameters
    meanings = items(sections(komos_source.komos_source)["Args"])
    found = {
        name: ("–" if name == "api_key" else shown(each.default).replace("'", ""), meanings[name])
        for name, each in parameters.items()
        if name not in SELECTION
    }
    for module in pkgutil.walk_packages(komos_source.__path__, "komos_source."):
        if ".notebooks" not in module.name and not module.name.endswith("__main__"):
            for each in vars(importlib.import_module(module.name)).values():
                if isinstance(each, Setting):
                    found[each.name] = (shown(each.default).replace("'", ""), each.meaning)
    return found


def settings_table(names: str, page: Path) -> str:
    rows = []
    for name in names.split():
        default, meaning = settings()[name]
        rows.append([f"`{Setting(name, '').variable}`", default, marked_up(meaning, page)])
    return table("variable default meaning", rows)


def limits_table(names: str, page: Path) -> str:
    meanings = items(sections(Limits)["Attributes"])
    rows = [
        [f"`{each.name}`", shown(each.default), marked_up(meanings[each.name], page)]
        for each in dataclasses.fields(Limits)
    ]
    return table("limit default meaning", rows)


GENERATED = {"options": options, "settings": settings_table, "limits": limits_table}


def completed(page: Path) -> str:
    """The page with its generated tables."""
    return MARKED.sub(
        lambda marked: (
            f"{marked[1]} {marked[2]}".rstrip()
            + marked[3]
            + GENERATED[marked[1]](marked[2], page)
            + "\n"
        ),
        page.read_text("utf-8"),
    )


def marked_pages() -> list[Path]:
    return [page for page in DOCS.rglob("*.md") if "<!-- generated: " in page.read_text("utf-8")]


def test_generated_parts_are_those_of_the_code(request: pytest.FixtureRequest) -> None:
    pages = python_pages() | {page: completed(page) for page in marked_pages()}
    if request.config.getoption("--rewrite-golden"):
        (DOCS / "python").mkdir(exist_ok=True)
        for page, text in pages.items():
            page.write_text(text, "utf-8")
    for page, text in pages.items():
        assert page.read_text("utf-8") == text, "run make golden"
    assert {*(DOCS / "python").iterdir()} == python_pages().keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_page_of_each_command_has_its_generated_options(name: str) -> None:
    text = (ROOT / command_page(name)).read_text("utf-8")
    assert text.startswith(f"# {name}\n")
    assert [marked[2] for marked in MARKED.finditer(text)] == [name]


def test_each_public_name_is_on_one_page() -> None:
    on_pages = [f"{where}.{name}" for _, where, names in PYTHON.values() for name in names.split()]
    public = [
        f"{where}.{name}"
        for where in ("", "alerts", "analytics", "destinations", "testing", "webhooks")
        for name in package(where).__all__
        if name != "__version__"
    ]
    assert sorted(on_pages) == sorted(public)


def test_each_setting_is_in_one_table_of_the_configuration() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    names = " ".join(marked[2] for marked in MARKED.finditer(text)).split()
    assert sorted(names) == sorted(settings())
