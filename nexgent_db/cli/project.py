"""The service's files that a command takes: of its pyproject.toml, or of the options before the command."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final

import typer

from nexgent_db.errors import ConfigurationError, NexgentError
from nexgent_db.project import Project

__all__ = ["Contract", "MigrationFolders", "Modules", "ProjectFolder", "Sql", "choose", "current", "import_modules"]

_PANEL: Final = "A service's own files, instead of those of its pyproject.toml"

ProjectFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default=False, help="Read the pyproject.toml of DIR.", rich_help_panel=_PANEL),
]
Modules = Annotated[
    list[str] | None, typer.Option(metavar="MODULE", help="Defines repositories.", rich_help_panel=_PANEL)
]
Sql = Annotated[list[str] | None, typer.Option(metavar="DIR", help="Has query files.", rich_help_panel=_PANEL)]
MigrationFolders = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=DIR", help="Has migrations, with a history of this name.", rich_help_panel=_PANEL),
]
Contract = Annotated[
    str | None, typer.Option(metavar="FILE", help="The contract of the service's queries.", rich_help_panel=_PANEL)
]


_start: ContextVar[Path | None] = ContextVar("start", default=None)
_options: ContextVar[Mapping[str, object]] = ContextVar("options", default=MappingProxyType({}))


def choose(
    start: Path | None,
    modules: list[str] | None,
    sql: list[str] | None,
    migrations: list[str] | None,
    contract: str | None,
) -> None:
    """Keep the options for the command that follows. Raises typer.BadParameter for a folder of migrations without a
    name."""
    given = {
        "modules": modules,
        "sql": [str(Path(each).absolute()) for each in sql or ()],
        "migrations": dict(map(_named, migrations or ())),
        "contract": contract and str(Path(contract).absolute()),
    }
    _start.set(start)
    _options.set({key: value for key, value in given.items() if value})


def _named(text: str) -> tuple[str, str]:
    name, sign, folder = text.partition("=")
    if not sign:
        raise typer.BadParameter(f"{text}: write NAME=DIR", param_hint="--migrations")
    return name, str(Path(folder).absolute())


def current() -> Project:
    """The project of the running command; empty outside of a service. Raises ConfigurationError."""
    return Project.find(_start.get(), _options.get())


def import_modules(project: Project) -> None:
    """Import the service's modules, which creates its repositories.

    They are looked for beside the pyproject.toml and in ``src`` first. Raises ConfigurationError for a module that
    cannot be imported; what a repository raises for a mistake in its file or a method.
    """
    if not project.modules:
        return
    root = project.file.parent if project.file else Path.cwd()
    for folder in (root / "src", root):
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    for name in project.modules:
        try:
            module = importlib.import_module(name)
            for below in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
                importlib.import_module(below.name)
        except NexgentError:
            raise
        except Exception as error:  # a module runs any code
            raise ConfigurationError(
                f"{project.file or 'modules'}: {name} cannot be imported: {type(error).__name__}: {error}"
            ) from error
