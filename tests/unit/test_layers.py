"""Imports between packages point only downwards; read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nexgent_db

PACKAGE = Path(nexgent_db.__file__).parent

# What the modules of a package, or a module at the top, may import of nexgent_db. A new one has to be given its place.
BASE = {"errors", "_text"}
LIBRARY = {
    "_redis_url",
    "_version",
    *BASE,
    "_concurrency",
    "_wal",
    "project",
    "poolers",
    "sessions",
    "settings",
    "models",
    "queries",
    "queries.lexer",
    "cache",
    "schema",
    "observe",
}
FLAVOURS = {"aio", "sync"}
MAY_IMPORT: dict[str, set[str]] = {
    "_text": set(),
    "_version": set(),
    "errors": {"_text"},
    "_concurrency": set(),
    "_wal": {*BASE, "_concurrency"},
    "resources": BASE,
    "project": BASE,
    "keyring": BASE,
    "_foreign_dsn": BASE,
    "poolers": BASE,
    "_redis_url": BASE,
    "settings": {*BASE, "_foreign_dsn", "_redis_url", "poolers"},
    "sessions": {*BASE, "poolers", "settings"},
    "observe": BASE,
    "embedded": BASE,
    "models": BASE,
    "queries": {*BASE, "resources", "models", "queries.lexer"},
    "queries.citus": {"queries.lexer"},
    "queries.lexer": set(),  # splits any SQL, that of migrations too: schema and migrations have it without models
    "contract": {*BASE, "resources", "project", "models", "queries", "queries.citus", "queries.lexer"},
    "schema": {*BASE, "resources", "sessions", "models", "queries.lexer"},
    "migrations": {*BASE, "resources", "project", "sessions", "settings", "schema", "queries.citus", "queries.lexer"},
    "cache": {*BASE, "_concurrency", "models", "queries"},
    "aio": LIBRARY,
    "sync": LIBRARY,
    "replay": {*LIBRARY, *FLAVOURS},
    "report": {*BASE, "schema", "contract", "queries.lexer"},
    "testing": {*LIBRARY, *FLAVOURS, "embedded", "migrations", "project"},
    "cli": {
        *LIBRARY,
        *FLAVOURS,
        "_version",
        "resources",
        "project",
        "contract",
        "migrations",
        "embedded",
        "replay",
        "report",
    },
    "__init__": {*LIBRARY, *FLAVOURS, "keyring"},
}
# Who may import what of other distributions that does I/O.
IO_LIBRARIES = {"psycopg", "psycopg_pool", "redis", "yoyo", "typer", "rich", "asyncio", "socket", "subprocess"}
MAY_DO: dict[str, set[str]] = {
    "errors.translation": {"psycopg"},  # its errors become ours
    "_foreign_dsn": {"psycopg"},  # the options that libpq knows
    "poolers": {"psycopg"},  # its literals in SQL
    "sessions": {"psycopg"},  # what it asks of a connection
    "settings": {"psycopg"},  # libpq parses connection strings
    "queries.adhoc": {"psycopg"},  # dict_row, Jsonb
    "queries.dumping": {"psycopg"},  # its writers of lists and numbers
    "queries.values": {"psycopg"},  # Jsonb
    "queries.rows": {"psycopg"},  # its cursor's columns
    "queries.unreadable": {"psycopg"},  # its loaders, to find the column at fault
    "_concurrency": {"asyncio"},
    "cache.sockets": {"redis"},
    "aio": {"psycopg", "redis", "asyncio"},
    "sync": {"psycopg", "redis"},
    "schema": {"psycopg"},
    "contract": {"psycopg"},
    "migrations": {"psycopg", "yoyo", "socket", "subprocess"},
    "embedded": {"psycopg", "socket", "subprocess"},
    "replay": {"psycopg", "rich"},
    "testing": {"psycopg", "redis"},
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
def test_module_imports_only_downwards(module: str) -> None:
    path = SOURCES[module]
    assert upward(path.read_text(), module, is_package=path.name == "__init__.py") == []


def test_every_module_is_checked() -> None:
    assert {
        "errors",
        "models.trades",
        "aio.database",
        "sync.database",
        "embedded._watchdog",
        "cache.keys",
        "__init__",
    } <= SOURCES.keys()


def test_layer_order_has_no_cycle() -> None:
    def below(module: str, seen: tuple[str, ...] = ()) -> None:
        assert module not in seen, f"{' -> '.join(seen)} -> {module}"
        for each in MAY_IMPORT[module]:
            if each in MAY_IMPORT:
                below(each, (*seen, module))

    for module in MAY_IMPORT:
        below(module)


def test_no_module_imports_cli() -> None:
    assert not [module for module, allowed in MAY_IMPORT.items() if "cli" in allowed]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("errors", "from nexgent_db.models import User"),
        ("models.users", "import psycopg"),
        ("models.users", "def f():\n    import redis.asyncio"),
        ("models.users", "from nexgent_db.queries.binding import query"),
        ("models.users", "from ..queries.binding import query"),
        ("models.users", "from .. import settings"),
        ("models.users", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nexgent_db.aio.pool import x"),
        ("queries.sqlfile", "import psycopg"),
        ("queries.sqlfile", "import nexgent_db.cache.keys"),
        ("queries.sqlfile", "from nexgent_db import Database"),
        ("queries.binding", "from nexgent_db.aio.session import Session"),
        ("queries.trade_results", "from nexgent_db import sync"),
        ("settings", "from nexgent_db.cli import main"),
        ("settings", "import psycopg_pool"),
        ("aio.database", "from nexgent_db.sync.database import Database"),
        ("aio.database", "from nexgent_db.cli import main"),
        ("aio.database", "from nexgent_db.migrations import Migrator"),
        ("aio.database", "from nexgent_db.embedded import postgres"),
        ("sync.database", "from nexgent_db.aio.database import AsyncDatabase"),
        ("embedded._servers", "from nexgent_db.aio.database import AsyncDatabase"),
        ("migrations.migrator", "from nexgent_db.aio import database"),
        ("migrations.migrator", "import nexgent_db.embedded"),
        ("replay.run", "from nexgent_db.cli import main"),
    ],
)
def test_upward_import_is_found(module: str, source: str) -> None:
    assert len(upward(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("models.users", "from nexgent_db.models.base import Row\nfrom .base import Row\nfrom . import base"),
        ("models.users", "from nexgent_db import errors\nfrom ..errors import InvalidInput"),
        (
            "aio.repositories.trades",
            "from nexgent_db.models.trades import BuyOrder\nfrom nexgent_db.aio.session import Session",
        ),
        ("cli.main", "from nexgent_db.aio.database import AsyncDatabase\nimport rich, typer"),
    ],
)
def test_downward_import_is_accepted(module: str, source: str) -> None:
    assert upward(source, module) == []


def test_module_without_place_is_found() -> None:
    with pytest.raises(AssertionError, match="has no place"):
        upward("", "newcomer")


# --- Size -----------------------------------------------------------------------------------------

MAX_LINES = 440
MAX_METHODS = 24
WRITTEN = [path for path in SOURCES.values() if "sync" not in path.parts and path.name != "protocols.py"]


def too_large(source: str) -> list[str]:
    """A file that is too long, and classes with too many methods."""
    length = len(source.splitlines())
    found = [f"{length} lines"] if length > MAX_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) for each in node.body)
            found += [f"{node.name}: {methods} methods"] if methods > MAX_METHODS else []
    return found


def test_files_and_classes_stay_small() -> None:
    assert {path.name: found for path in WRITTEN if (found := too_large(path.read_text()))} == {}


def test_large_file_and_large_class_are_found() -> None:
    methods = "".join(f"    def method_{number}(self): ...\n" for number in range(MAX_METHODS + 1))
    assert too_large(f"class A:\n{methods}") == [f"A: {MAX_METHODS + 1} methods"]
    assert too_large("\n" * (MAX_LINES + 1)) == [f"{MAX_LINES + 1} lines"]
