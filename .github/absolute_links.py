"""Makes the links of README.md absolute, for the package's page on PyPI, which has no other file.

python .github/absolute_links.py OWNER/REPOSITORY TAG
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def absolute_links(text: str, repository: str, tag: str) -> str:
    """The text with links to the files on GitHub, and pictures as the files themselves."""
    text = re.sub(
        r"(!\[[^]]*\]\()(?![a-z]+:|#)",
        rf"\1https://raw.githubusercontent.com/{repository}/{tag}/",
        text,
    )
    return re.sub(
        r"(?<!!)(\[[^]]*\]\()(?![a-z]+:|#)", rf"\1https://github.com/{repository}/blob/{tag}/", text
    )


if __name__ == "__main__":
    README.write_text(absolute_links(README.read_text("utf-8"), *sys.argv[1:]), "utf-8")
