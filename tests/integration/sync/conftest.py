# Generated from tests/integration/aio/conftest.py by `make sync`: do not edit.
"""A database object, and owners for trades."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nexgent_db import Database
from tests.integration.sync.factories import Owner, new_owner
from tests.support.oracles.state import broken_rules


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """An open database, shared by the session's tests."""
    with Database(database_url) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    """A user's agent with an empty simulation wallet."""
    return new_owner(db)


@pytest.fixture
def consistent_ledger(database_url: str) -> Iterator[None]:
    """After the test, every query of sql/checks.sql must come back empty."""
    yield
    assert broken_rules(database_url) == {}
