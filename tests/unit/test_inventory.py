"""Every public method of every repository, and every trade, is used by a test on a real server."""

from __future__ import annotations

import ast
import inspect
from functools import cache
from pathlib import Path

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.repositories.trades import Trades

TESTS = Path(__file__).resolve().parents[1] / "integration" / "aio"


@cache
def used() -> set[tuple[str, str]]:
    """``("wallets", "create")`` for every ``….wallets.create`` in the tests."""
    attributes = [
        node
        for path in TESTS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    ]
    return {(node.value.attr, node.attr) for node in attributes if isinstance(node.value, ast.Attribute)}


def used_by_own_class(kind: type[object]) -> set[str]:
    """The methods that others of the class are made of: they are tested through those."""
    tree = ast.parse(Path(inspect.getfile(kind)).read_text())
    return {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }


def offered() -> list[tuple[str, str]]:
    """``("wallets", "create")`` for every public method."""
    return [
        (attribute, name)
        for attribute, held in vars(AsyncDatabase("dbname=nowhere")).items()
        if isinstance(held, Repository | Trades)
        for name, _ in inspect.getmembers(type(held), inspect.isfunction)
        if not name.startswith("_") and name not in used_by_own_class(type(held))
    ]


@pytest.mark.parametrize(("attribute", "name"), offered())
def test_every_method_is_tested(attribute: str, name: str) -> None:
    assert (attribute, name) in used()


def test_unused_method_is_found() -> None:
    assert ("trades", "buy") in used()
    assert ("trades", "buy_everything") not in used()
    assert len(offered()) > 60
