"""Writes the picture of what ``make demo`` shows: ``python -m tests.codegen.demo_picture``.

It shows three of the tables, as rich draws a terminal in SVG. It names only fonts of the reader's machine: nothing is
fetched to look at it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

TARGET: Final = Path(__file__).resolve().parents[2] / "docs" / "pages" / "assets" / "demo.svg"
_TITLES: Final = "Balances|Closed trades|The last [0-9]+ trades"
_TABLE: Final = re.compile(rf"^(?:{_TITLES}) *\n┏.*?^└.*?$", re.MULTILINE | re.DOTALL)
_STYLES: Final = {
    re.compile(r"^\$ make demo"): "bold green",
    re.compile(r"^[A-Z][a-z].*$", re.MULTILINE): "bold",
    re.compile(r"^┃ .*$", re.MULTILINE): "bold",
    re.compile(r"[^\w\s$.,:()%☕-]+"): "not bold bright_black",  # a piece each, so that columns stay straight
}


def main() -> None:
    """Run the demo on a server of its own, and write the picture."""
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o711)  # the server runs as nobody when root runs this
        environ = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        shown = subprocess.run(
            [sys.executable, "-m", "nexgent_db.cli", "demo"],
            env=environ | {"NEXGENT_DB_HOME": home},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
    TARGET.write_text(picture(shown), encoding="utf-8")


def picture(shown: str) -> str:
    """The SVG of what the demo printed."""
    tables = [[line.rstrip() for line in table.splitlines()] for table in _TABLE.findall(shown)]
    assert len(tables) == 3
    lines = ["$ make demo", *(line for table in tables for line in ("", *table))]
    text = Text("\n".join(lines), no_wrap=True)
    for pattern, style in _STYLES.items():
        text.highlight_regex(pattern, style)
    console = Console(record=True, file=StringIO(), width=max(map(cell_len, lines)), force_terminal=True)
    console.print(text)
    svg = console.export_svg(title="nexgent-db", theme=MONOKAI, unique_id="demo")
    svg = re.sub(r"\s*@font-face \{[^}]*\}", "", svg)
    return svg.replace("Fira Code, monospace", "ui-monospace, monospace").strip() + "\n"


if __name__ == "__main__":
    main()
