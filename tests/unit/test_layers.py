"""Who may import whom: downwards only, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nexgent_db

PACKAGE = Path(nexgent_db.__file__).parent

# What a module, or everything in a package, may import of nexgent_db; the longest match counts. A new module has to
# be given its place here.
ABOVE_NOTHING: set[str] = set()
PURE = {"errors", "models", "sqlfiles", "_data"}
CACHE = {
    "_redis_url",
    "_background",
    "_breaker",
    "_cache_entries",
    "_cache_rows",
    "_cache_scripts",
    "_near_rows",
    "cache_keys",
}
IO = {*PURE, *CACHE, "_schema_state", "binding", "observe", "outcomes", "health", "settings"}
MIGRATION_PARTS = {f"_migrating.{part}" for part in ("files", "books", "state", "server", "runner", "locks")}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": ABOVE_NOTHING,
    "_sqllexer": ABOVE_NOTHING,
    "health": ABOVE_NOTHING,
    "_background": ABOVE_NOTHING,
    "_breaker": ABOVE_NOTHING,
    "_near_rows": ABOVE_NOTHING,
    "cache_keys": {"errors"},
    "_cache_rows": {"errors", "models", "sqlfiles", "binding", "outcomes", "cache_keys"},
    "_cache_entries": {"models", "_cache_rows", "cache_keys"},
    "_cache_scripts": {"cache_keys"},
    "models": {"errors"},
    "_data": {"errors"},
    "keyring": {"errors"},
    "_redis_url": ABOVE_NOTHING,
    "settings": {"errors", "_redis_url"},
    "sqlfiles": {"errors", "_sqllexer"},
    "binding": PURE,
    "observe": {"errors"},
    "outcomes": {"errors", "models", "binding"},
    "aio": IO,
    "sync": IO,
    "catalog": {"errors"},
    "adoption": {"errors", "catalog"},
    "roles": {"errors", "_data"},
    "unfit_rows": {"errors", "_data", "_migrating.sql"},
    "contract": {*IO, "aio", "sync", "_sqllexer"},
    "_migrating": ABOVE_NOTHING,
    "_migrating.sql": {"errors"},
    "_schema_state": {"errors", "models", "_data", "_migrating.sql"},
    "_migrating.files": {"errors", "_migrating.sql"},
    "_migrating.books": {"errors", "_migrating.files"},
    "_migrating.state": {"errors", "_migrating.files", "_migrating.books"},
    "_migrating.server": {"errors", "settings", "_migrating.files"},
    "_migrating.watch": ABOVE_NOTHING,
    "_migrating.new": {"errors"},
    "_migrating.lint": {"errors", "_data", "_migrating.files", "_migrating.sql"},
    "_migrating.locks": {"errors", "_migrating.files", "_migrating.server"},
    "_migrating.runner": {"errors", "_migrating.files", "_migrating.books", "_migrating.server", "_migrating.watch"},
    "migrations": {"errors", "settings", "_data", *MIGRATION_PARTS},
    "embedded": {"errors"},
    "replay": {*IO, "aio", "sync"},
    "report": {*PURE, "catalog", "contract"},
    "cli": {
        *IO,
        "aio",
        "sync",
        "adoption",
        "catalog",
        "contract",
        "report",
        "roles",
        "migrations",
        "_migrating.files",
        "_migrating.lint",
        "_migrating.new",
        "embedded",
        "replay",
        "unfit_rows",
    },
    "__init__": {*IO, "aio", "sync", "keyring"},
}
# Who may import what of other distributions that does I/O.
IO_LIBRARIES = {"psycopg", "psycopg_pool", "redis", "yoyo", "typer", "rich", "asyncio", "socket", "subprocess"}
MAY_DO: dict[str, set[str]] = {
    "errors": {"psycopg", "psycopg_pool"},  # their errors become ours
    "settings": {"psycopg"},  # libpq parses connection strings
    "binding": {"psycopg"},  # Jsonb
    "_background": {"asyncio"},
    "aio": {"psycopg", "psycopg_pool", "redis", "asyncio"},
    "sync": {"psycopg", "psycopg_pool", "redis"},
    "adoption": {"psycopg"},
    "roles": {"psycopg"},
    "unfit_rows": {"psycopg"},
    "catalog": {"psycopg"},
    "contract": {"psycopg"},
    "_migrating.files": {"yoyo"},
    "_migrating.books": {"psycopg", "yoyo"},
    "_migrating.server": {"psycopg", "socket"},
    "_migrating.watch": {"psycopg"},
    "_migrating.lint": {"subprocess"},
    "_migrating.locks": {"psycopg"},
    "_migrating.runner": {"psycopg", "yoyo", "socket"},
    "migrations": {"psycopg", "socket"},
    "embedded": {"psycopg", "socket", "subprocess"},
    "replay": {"psycopg", "rich"},
    "cli": IO_LIBRARIES,
}


def name_of(path: Path) -> str:
    """``models.trades`` for ``nexgent_db/models/trades.py``; ``models`` for its ``__init__``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def imports_of(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported anywhere in the source, for type checking too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                around = ["nexgent_db", *module.split(".")]
                around = around[: len(around) - node.level + is_package]
                base = ".".join([*around, *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def place(module: str, places: dict[str, set[str]]) -> str | None:
    """The entry for a module: its own or that of the package it is in."""
    parts = module.split(".")
    return next((".".join(parts[:n]) for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in places), None)


def upward(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that a module may not make."""
    own = place(module, MAY_IMPORT)
    assert own is not None, f"nexgent_db.{module} has no place in MAY_IMPORT: say what it may import"
    allowed = MAY_DO.get(place(module, MAY_DO) or "", set())
    wrong: list[str] = []
    for line, name in imports_of(source, module, is_package=is_package):
        top, _, rest = name.partition(".")
        if top == "nexgent_db":
            target = place(rest, MAY_IMPORT)
            fine = target == own or target in MAY_IMPORT[own]
        else:
            fine = top not in IO_LIBRARIES or top in allowed
        if not fine:
            wrong.append(f"{module}:{line} imports {name}")
    return wrong


SOURCES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_only_downwards(module: str) -> None:
    path = SOURCES[module]
    assert upward(path.read_text(), module, is_package=path.name == "__init__.py") == []


def test_every_module_is_looked_at() -> None:
    assert {
        "errors",
        "models.trades",
        "aio.database",
        "sync.database",
        "embedded._watchdog",
        "__init__",
    } <= SOURCES.keys()


def test_the_order_has_no_circle() -> None:
    def below(module: str, seen: tuple[str, ...] = ()) -> None:
        assert module not in seen, f"{' -> '.join(seen)} -> {module}"
        for each in MAY_IMPORT[module]:
            if each in MAY_IMPORT:
                below(each, (*seen, module))

    for module in MAY_IMPORT:
        below(module)


def test_nothing_may_import_the_command_line() -> None:
    assert not [module for module, allowed in MAY_IMPORT.items() if "cli" in allowed]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from nexgent_db.models import User"),
        ("models.users", "import psycopg"),
        ("models.users", "def f():\n    import redis.asyncio"),
        ("models.users", "from nexgent_db.binding import query"),
        ("models.users", "from ..binding import query"),
        ("models.users", "from .. import settings"),
        ("models.users", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nexgent_db.aio._pool import x"),
        ("sqlfiles", "import psycopg"),
        ("sqlfiles", "import nexgent_db.binding"),
        ("sqlfiles", "from nexgent_db import Database"),
        ("binding", "from nexgent_db.aio._session import Session"),
        ("outcomes", "from nexgent_db import sync"),
        ("settings", "from nexgent_db.cli import main"),
        ("settings", "import psycopg_pool"),
        ("aio.database", "from nexgent_db.sync.database import Database"),
        ("aio.database", "from nexgent_db.cli import main"),
        ("aio.database", "from nexgent_db.migrations import Migrator"),
        ("aio.database", "from nexgent_db.embedded import postgres"),
        ("sync.database", "from nexgent_db.aio.database import AsyncDatabase"),
        ("embedded._servers", "from nexgent_db.aio.database import AsyncDatabase"),
        ("migrations", "from nexgent_db.aio import database"),
        ("migrations", "import nexgent_db.embedded"),
        ("replay.run", "from nexgent_db.cli import main"),
    ],
)
def test_an_upward_import_is_found(module: str, source: str) -> None:
    assert len(upward(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.users", "from nexgent_db.models._base import Row\nfrom ._base import Row\nfrom . import _base"),
        ("models.users", "from nexgent_db import errors\nfrom ..errors import InvalidInput"),
        ("aio.trades", "from nexgent_db.models.trades import BuyOrder\nfrom nexgent_db.aio._session import Session"),
        ("cli.main", "from nexgent_db.aio.database import AsyncDatabase\nimport rich, typer"),
    ],
)
def test_a_downward_import_is_fine(module: str, source: str) -> None:
    assert upward(source, module) == []


def test_a_module_without_a_place_is_found() -> None:
    with pytest.raises(AssertionError, match="has no place"):
        upward("", "newcomer")
