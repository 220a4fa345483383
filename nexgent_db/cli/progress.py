"""What a person who waits for the migrator sees, on stderr."""

from __future__ import annotations

import typer

from nexgent_db.cli.show import one_line

__all__ = ["Progress"]


class Progress:
    """Says which migration begins and what happens to it: NOTICEs, locks waited for, for how long it runs.

    ``done`` are the names of those that are finished: also when a later one fails.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self._begun: str | None = None

    def step(self, name: str, done: int, total: int) -> None:
        """A StepCallback."""
        if name == self._begun:
            self.done.append(name)
            return
        self._begun = name
        typer.echo(f"[{done + 1}/{total}] {name}", err=True)

    def message(self, name: str, text: str) -> None:
        """A MessageCallback."""
        del name  # the step before has said it
        typer.echo(f"    {one_line(text)}", err=True)
