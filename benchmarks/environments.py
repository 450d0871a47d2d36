"""Virtual environments of peers that cannot share ours, made when they are first asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def interpreter(name: str, packages: tuple[str, ...]) -> str:
    """The Python that has these packages; ours if there are none.

    Raises:
        subprocess.CalledProcessError: They cannot be installed; pip has said why.
    """
    if not packages:
        return sys.executable
    directory = _ROOT / f".venv-{name}"
    python, ready = directory / "bin" / "python", directory / "ready"
    wanted = "\n".join(packages)
    if not ready.exists() or ready.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", directory], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *packages], check=True)
        ready.write_text(wanted)
    return str(python)
