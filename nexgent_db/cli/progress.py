"""Shows the migrator's progress on stderr."""

from __future__ import annotations

import typer

from nexgent_db.cli.show import one_line

__all__ = ["Progress"]


class Progress:
    """Shows each migration as it begins, with its NOTICEs, the locks that it waits for, and its run time.

    ``done`` has the names of finished migrations, even when a later one fails.
    """

    def __init__(self) -> None:
        self.done: list[str] = []
        self._begun: str | None = None

    def step(self, name: str, done: int, total: int) -> None:
        """Show a step of a migration; a StepCallback."""
        if name == self._begun:
            self.done.append(name)
            return
        self._begun = name
        typer.echo(f"[{done + 1}/{total}] {name}", err=True)

    def message(self, name: str, text: str) -> None:
        """Show a message of the server; a MessageCallback."""
        del name  # step() has shown it
        typer.echo(f"    {one_line(text)}", err=True)
