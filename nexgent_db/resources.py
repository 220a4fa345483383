"""Where the SQL of this package lies: beside the sources in a checkout, inside the package once installed."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from nexgent_db.errors import ConfigurationError

__all__ = ["data_dir"]

_PACKAGE: Final = Path(__file__).resolve().parent


def data_dir(name: Literal["sql", "migrations"]) -> Path:
    """The folder of named queries or of migrations that belongs to this copy of the package.

    A wheel carries it as ``nexgent_db/_<name>``; a checkout has it at its top level, known by the
    ``pyproject.toml`` beside it (so that another distribution's ``site-packages/migrations`` is never taken).

    Raises ConfigurationError when there is neither: the installation is broken, and going on would mean an empty
    list of queries or migrations.
    """
    installed = _PACKAGE / f"_{name}"
    if installed.is_dir():
        return installed
    checkout = _PACKAGE.parent / name
    if checkout.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return checkout
    raise ConfigurationError(
        f"this copy of nexgent-db has no {name} folder (looked for {installed} and {checkout}): reinstall the package"
    )
