"""What the release workflow publishes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SPEC = importlib.util.spec_from_file_location("links", ROOT / ".github" / "absolute_links.py")
assert _SPEC
assert _SPEC.loader
links = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(links)


def test_readme_for_pypi_has_absolute_links_and_pictures_to_files_of_the_tag() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    text = links.absolute_links(readme, "komos/komos_source", "v1.2.3")
    targets = re.findall(
        r"(!?)\[[^]]*\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    )
    assert len(targets) > 30
    for picture, target in targets:
        where = (
            "raw.githubusercontent.com/komos/komos_source"
            if picture
            else "github.com/komos/komos_source/blob"
        )
        ours = target.removeprefix(f"https://{where}/v1.2.3/")
        assert target.startswith("https://")
        if ours != target:
            assert (ROOT / ours.partition("#")[0]).is_file()
    assert len([each for each, _ in targets if each]) == 1
    assert links.absolute_links(text, "komos/komos_source", "v1.2.3") == text


def test_workflow_checks_the_version_before_it_builds_with_absolute_links() -> None:
    steps = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    order = ["GITHUB_REF_NAME#v", ".ci/run", "absolute_links.py", "make build wheel-test", "twine"]
    assert [*map(steps.index, order)] == sorted(map(steps.index, order))
