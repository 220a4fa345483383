# Generated from tests/integration/aio/test_trade_requests.py by `make sync`: do not edit.
"""Stored requests: pruned after their retention, and refused from then on."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.errors import IdempotencyConflict, InvalidInput
from tests.integration.sync.factories import funded_owner
from tests.support.oracles.state import rows_of


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database of the test's own."""
    with Database(fresh_database_url) as database:
        yield database


def test_pruned_request_is_refused_and_never_executed_again(db: Database, fresh_database_url: str) -> None:
    owner = funded_owner(db)
    order, reset = owner.deposit("1"), owner.reset("5")
    db.trades.deposit(order)
    db.trades.reset_wallet(reset)
    last = db.trades.deposit(owner.deposit("2"))
    older = last.transaction.created_at
    assert [db.trade_requests.prune(older, 1) for _ in range(3)] == [1, 1, 0]  # the reset is kept
    kept = db.trade_requests.list_by_ids([order.trade_id, reset.trade_id, last.transaction.id, uuid4()])
    assert {request.id for request in kept} == {reset.trade_id, last.transaction.id}
    before = rows_of(fresh_database_url, owner.agent_id)
    with pytest.raises(IdempotencyConflict, match=f"transaction {order.trade_id}"):
        db.trades.deposit(order)
    assert db.trades.reset_wallet(reset).duplicate
    assert rows_of(fresh_database_url, owner.agent_id) == before


def test_prune_of_nothing_is_refused(db: Database) -> None:
    owner = funded_owner(db)
    now = db.trades.deposit(owner.deposit("1")).transaction.created_at
    with pytest.raises(InvalidInput, match="limit"):
        db.trade_requests.prune(now, 0)
    with pytest.raises(InvalidInput, match="before"):
        db.trade_requests.prune(now.replace(tzinfo=None))
