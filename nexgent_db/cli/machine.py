"""Prints one JSON object on stdout for machines, also after an error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from nexgent_db.errors import NexgentError

__all__ = ["Json", "print_json", "reporting"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]


def print_json(document: Mapping[str, Any]) -> None:
    """Print the document on one line."""
    typer.echo(json.dumps(document, ensure_ascii=False))


@contextmanager
def reporting(document: Mapping[str, Any], wanted: bool) -> Iterator[None]:
    """Print ``document`` after the ``with`` block, with the block's error if it fails; nothing unless ``wanted``."""
    try:
        yield
    except NexgentError as error:
        if wanted:
            print_json({**document, "error": error.to_json()})
        raise
    if wanted:
        print_json({**document, "error": None})
