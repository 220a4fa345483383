"""``python -m tests.codegen.constraints``: writes constraints.txt, every package that pyproject.toml leads to.

The versions stay as they are where they still fit; with ``--upgrade`` they are the newest. uv resolves for every
supported Python and platform at once, and lists the hashes of every file of a release.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parents[2] / "constraints.txt"
OLDEST_PYTHON: Final = "3.11.5"
HEAD: Final = """\
# What `make` installs, each file named by its hash (pip: --require-hashes); the tools that build this package as well.
# Written by `make constraints`. To take newer releases: `make constraints UPGRADE=--upgrade`.
"""


def main() -> None:
    """Resolve, and replace the file unless that fails."""
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--all-extras"]
    command += ["--python-version", OLDEST_PYTHON, "--generate-hashes", "--no-header", "--no-annotate"]
    if "--upgrade" in sys.argv[1:]:
        command.append("--upgrade")
    subprocess.run([*command, "--output-file", str(FILE), "pyproject.toml"], cwd=FILE.parent, check=True)
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith(("#", "--"))]
    FILE.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
