"""JSON on stdout for machines, also after an error; and the exit code of each error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer

from nexgent_db.embedded import EmbeddedServerError
from nexgent_db.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    InvalidInput,
    MigrationError,
    MigrationLocked,
    NexgentError,
    PermissionDenied,
    QueryBindingError,
    SchemaNotReady,
    SqlFileError,
)

__all__ = ["EXIT_CODES", "Json", "exit_code_of", "print_error", "print_json", "reporting"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]

EXIT_CODES: Final[dict[int, tuple[tuple[type[NexgentError], ...], str]]] = {
    1: (
        (NexgentError,),
        "a problem was found (`doctor`, `verify`, `check` and others), or any error that has no code of its own",
    ),
    2: (
        (InvalidInput,),
        "wrong usage; `status`: some are pending; `cache verify`, `drift`: no comparison; `doctor`: warnings only;"
        " `verify`: not finished",
    ),
    3: ((ConfigurationError, SqlFileError, QueryBindingError), "a setting or a SQL file is at fault"),
    4: ((DatabaseUnavailable, EmbeddedServerError), "no server can be reached: retry later"),
    5: ((SchemaNotReady,), "the database has another schema: migrate it"),
    6: ((MigrationError,), "a migration was refused or failed"),
    7: ((MigrationLocked,), "another session held what the migration needs: retry later"),
    8: ((PermissionDenied,), "the role has not the right"),
}
"""Each exit code besides 0: its errors, with the subclasses that have no code of their own, and its meaning."""


def exit_code_of(error: NexgentError) -> int:
    """The code of the error's class, or of its nearest base that has one."""
    codes = {kind: code for code, (kinds, _) in EXIT_CODES.items() for kind in kinds}
    return next(codes[kind] for kind in type(error).__mro__ if kind in codes)


def print_json(document: Mapping[str, Any]) -> None:
    """Print the document on one line, in ASCII: a terminal shows nothing else than what is there."""
    typer.echo(json.dumps(document))


@contextmanager
def reporting(document: Mapping[str, Any], wanted: bool) -> Iterator[None]:
    """Print ``document`` after the ``with`` block, with the block's error if it fails; nothing unless ``wanted``."""
    try:
        yield
    except NexgentError as error:
        if wanted:
            print_error(error, document)
        raise
    if wanted:
        print_json({**document, "error": None})


_PRINTED: Final[list[NexgentError]] = []


def print_error(error: NexgentError, document: Mapping[str, Any] = {}) -> None:  # never changed
    """Print the document with the error; nothing when this error was printed before."""
    if error not in _PRINTED:
        _PRINTED.append(error)
        print_json({**document, "error": error.to_json()})
