"""The documentation: links work; commands, settings, modules and messages are those of the code."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import komos_source
from komos_source import exceptions
from komos_source.cli.main import cli

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "komos_source"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
SELECTION = {"run_ids", "task_ids", "since", "full_refresh", "shard"}
"""Arguments of the source that options of the command set, not settings."""


def read(path: str) -> str:
    return (ROOT / path).read_text("utf-8")


def prose(text: str) -> str:
    """The text without fenced code blocks and code spans, in which brackets are not links."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)|[^\w\s-]", r"\1", each).lower() for each in headings)
    return {each.strip().replace(" ", "-") for each in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_relative_link_leads_to_a_file_and_heading(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", link):
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


def test_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_examples_compile_and_import_public_names_only(page: Path) -> None:
    public = {"komos_source", "komos_source.analytics", "komos_source.destinations"}
    public |= {"komos_source.alerts"}
    public |= {"komos_source.webhooks", "komos_source.testing"}
    for program in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("komos_source"):
                assert node.module in public


def commands(group: click.Group, prefix: str = "komos") -> Iterator[tuple[str, click.Command]]:
    """All commands with their full names, those of subgroups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")
        elif command is not None:
            yield f"{prefix} {name}", command


COMMANDS = dict(commands(cli))


def command_page(name: str) -> str:
    return f"docs/commands/{name.removeprefix('komos ').replace(' ', '-')}.md"


def typed_commands() -> Iterator[str]:
    """Each `komos` command line in a code block of a page, without what a shell does with it."""
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = re.findall(r"^```\w*\n(.*?)^```|((?:^    .*\n)+)", text, re.M | re.DOTALL)
        for line in "".join(map("".join, blocks)).splitlines():
            found = re.match(r"(?:\$ |    )?(?:\w+=\S+ )*komos ([a-z][^#|&>;`…]*)(?!.*…)", line)
            if found:
                yield found[1].strip()


@pytest.mark.parametrize("command", sorted({*typed_commands()}))
def test_each_command_in_a_code_block_has_options_that_exist(command: str) -> None:
    words = shlex.split(command.replace("\\", ""))
    group: click.Command = cli
    while isinstance(group, click.Group):
        name = words.pop(0)
        assert name in group.commands, command
        group = group.commands[name]
    group.make_parser(click.Context(group)).parse_args(words)


def test_each_setting_is_documented() -> None:
    text = read("docs/configuration.md")
    sources = [path.read_text("utf-8") for path in PACKAGE.rglob("*.py")]
    found = set(re.findall(r"SOURCES__KOMOS__[A-Z_]+[A-Z]", " ".join(sources)))
    arguments = inspect.signature(komos_source.komos_source).parameters.keys() - SELECTION
    found |= {f"SOURCES__KOMOS__{name.upper()}" for name in arguments}
    for file in (".dlt/config.toml", ".dlt/secrets.toml.example"):
        section = read(file).partition("[sources.komos]\n")[2]
        names = re.findall(r"^(?:# )?(\w+) = ", re.split(r"\n(?:# )?\[", section)[0], re.M)
        found |= {f"SOURCES__KOMOS__{name.upper()}" for name in names}
    assert {name for name in found if f"`{name}`" not in text} == set()


def test_each_module_is_in_the_map_of_contributing() -> None:
    found = set(re.findall(r"^\| `([\w/]+\.py)`", read("CONTRIBUTING.md"), re.M))
    modules = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    assert found == {path for path in modules if not path.endswith("__init__.py")}


def texts(node: ast.AST) -> Iterator[str]:
    """The text that an expression is, if it is one; what an f-string fills in is an ellipsis."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            str(each.value) if isinstance(each, ast.Constant) else "…" for each in node.values
        )
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def messages() -> Iterator[str]:
    """Each text in the code."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            yield from texts(node)


def documented_messages() -> dict[str, str]:
    """The messages in the tables and lists of the pages, each with a pattern of what is shown."""
    pages = [Path("docs/troubleshooting.md"), *(ROOT / "docs" / "troubleshooting").glob("*.md")]
    parts = "".join(read(str(page)) for page in pages).split("\n## ")
    text = "".join(part for part in parts if not part.startswith("Messages of other software"))
    quoted = re.findall(r"^(?:\| |- )`(.+?)`(?: \||$)", text, re.M)
    return {each: ".*".join(map(re.escape, each.split("…"))) for each in quoted}


def raised_messages() -> Iterator[str]:
    """What is passed to exceptions of this package; what an f-string fills in is an ellipsis."""
    errors = {name for name, each in vars(exceptions).items() if inspect.isclass(each)}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in errors and node.args:
                yield from filter(re.compile("[a-z]{4}").search, texts(node.args[0]))


def test_each_message_that_is_raised_is_in_troubleshooting() -> None:
    patterns = documented_messages().values()
    raised = [*raised_messages()]
    assert len(raised) > 50
    assert [
        each for each in raised if not any(re.search(p, each, re.DOTALL) for p in patterns)
    ] == []


def test_each_message_in_troubleshooting_is_in_the_code() -> None:
    patterns, known = documented_messages(), list(messages())
    missing = [
        each
        for each, pattern in patterns.items()
        if not any(re.search(pattern, message, re.DOTALL) for message in known)
    ]
    assert patterns
    assert missing == []
