"""The examples of README and docs/: read from Markdown, run, and compared with the shown output.

- A ``python``, ``sql`` or ``toml`` block with a title is written to a file of that name. Beside a pyproject.toml,
  commands run in that project.
- Any other ``python`` block continues the ones above it, with top-level ``await``.
- Each ``$`` line of a ``console`` block is a command: ``nexgent-db``, ``python`` of such a file, or ``make``, whose
  target must exist and is not made.
- A ``text`` block directly under a python block, and the other lines of a console block, are the expected output; ``…``
  stands for any text. A comment ``exit code N`` after a command is its exit code.
- ``<!-- not run: why -->`` above a block: it is not run, but its commands and options must exist.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from typer.main import get_command

from nexgent_db.cli.app import app

ROOT: Final = Path(__file__).parents[3]
PAGES: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "pages").rglob("*.md")))

_FENCE: Final = re.compile(
    r"(?:^<!-- not run: (?P<not_run>[^\n]+) -->\n)?"
    r"^```(?P<language>python|console|(?:sql|toml)(?= title=))(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$"
    r"(?:\n\n?```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_EXIT_CODE: Final = re.compile(r"#.*\bexit code ([0-9]+)")


@dataclass(frozen=True)
class Command:
    """A ``$`` line: its words, what it should print ("" for anything), and its exit code."""

    words: tuple[str, ...]
    printed: str
    exit_code: int

    def problem(self) -> str | None:
        """Why there is no such command; None when there is one."""
        match self.words:
            case ("make", target):
                makefile = (ROOT / "Makefile").read_text()
                return None if re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE) else f"make has no {target}"
            case ("nexgent-db", *arguments):
                return _unknown(get_command(app), arguments)
        return None


@dataclass(frozen=True)
class Example:
    """A fenced block of a page; ``line`` is that of its first line of text, from 1."""

    page: Path
    line: int
    language: str
    title: str | None
    text: str
    printed: str | None
    not_run: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def commands(self) -> Iterator[Command]:
        """Those of a console block."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            code = _EXIT_CODE.search(line)
            yield Command(tuple(shlex.split(line, comments=True)), printed, int(code[1]) if code else 0)


def examples(page: Path) -> list[Example]:
    """Every python and console block of a page, in order. Raises ValueError for one that is indented or unfinished."""
    text = page.read_text(encoding="utf-8")
    found = [
        Example(
            page=page,
            line=text.count("\n", 0, fence.start("text")) + 1,
            language=fence["language"],
            title=fence["title"],
            text=fence["text"],
            printed=fence["printed"],
            not_run=fence["not_run"],
        )
        for fence in _FENCE.finditer(text)
    ]
    opened = re.findall(r"^\s*```(?:python|console|sql title=|toml title=)", text, re.MULTILINE)
    if (there := len(opened)) != len(found):
        raise ValueError(f"{page} has {there} blocks, of which {len(found)} can be read")
    return found


def named_commands(page: Path) -> list[Command]:
    """Those of the prose: `nexgent-db …` in backticks."""
    return [
        Command(tuple(shlex.split(found)), "", 0)
        for found in re.findall(r"(?<!`)`(nexgent-db [^`]+)`(?!`)", page.read_text(encoding="utf-8"))
        if "…" not in found and "COMMAND" not in found
    ]


def is_as_shown(printed: str, shown: str) -> bool:
    """Is that what the page shows? ``…`` stands for any text; white space at the ends of lines does not count."""
    pattern = ".*?".join(re.escape(part) for part in _stripped(shown).split("…"))
    return re.fullmatch(pattern, _stripped(printed), re.DOTALL) is not None


def _stripped(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _unknown(command: Any, arguments: list[str]) -> str | None:
    """The first of the arguments that the command line does not have."""
    for argument in arguments:
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if argument.startswith("-") and argument not in {*options, "-h", "--help"}:
            return f"{command.name} has no option {argument}"
        if (subcommands := getattr(command, "commands", None)) is not None and not argument.startswith("-"):
            if argument not in subcommands:
                return f"{command.name} has no command {argument}"
            command = subcommands[argument]
    return None
