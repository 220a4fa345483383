# Generated from tests/integration/aio/test_request_ids.py by `make sync`: do not edit.
"""Request ids belong to an agent: nobody takes another's, or waits for one."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexgent_db import Database
from nexgent_db.errors import IdempotencyConflict
from nexgent_db.models import trade_id_of
from nexgent_db.models.ids import new_id
from tests.integration.sync.factories import Owner, new_owner


def test_id_taken_by_another_user_is_free(db: Database, owner: Owner) -> None:
    other = new_owner(db)
    request_id = uuid4()
    for each, amount in ((owner, "10"), (other, "7")):
        order = each.deposit(amount, request_id=request_id)
        made = db.trades.deposit(order)
        assert (made.transaction.id, made.duplicate) == (order.trade_id, False)
        assert db.trades.deposit(order).duplicate
    balances = [db.balances.list_by_wallet(each.agent_id, each.wallet_address)[0] for each in (owner, other)]
    assert [balance.balance for balance in balances] == [10, 7]


def test_squatted_hash_does_not_block_an_import(db: Database, owner: Owner) -> None:
    """Wallet, hash and leg are public: so is the request id that they make."""
    squatter = new_owner(db)
    imported = owner.deposit("10", transaction_hash="5xHash")
    db.trades.deposit(squatter.deposit("1", request_id=imported.request_id))
    db.trades.deposit(squatter.deposit("1", request_id=imported.trade_id))
    made = db.trades.deposit(imported)
    assert (made.transaction.id, made.transaction.transaction_hash) == (imported.trade_id, "5xHash")


def test_id_in_another_users_open_transaction_is_not_waited_for(db: Database, owner: Owner, database_url: str) -> None:
    squatter = new_owner(db)
    order = owner.deposit("10")
    with Database(database_url) as other, other.transaction() as tx:
        tx.trades.deposit(squatter.deposit("1", request_id=order.request_id))
        assert not db.trades.deposit(order).duplicate


def test_one_id_for_both_wallets_of_an_agent_is_conflict(db: Database, owner: Owner) -> None:
    live = db.wallets.create(f"live {owner.agent_id}", owner.agent_id, "live")
    first = owner.deposit("10")
    db.trades.deposit(first)
    with pytest.raises(IdempotencyConflict, match="another order of this id"):
        db.trades.deposit(first.model_copy(update={"wallet_address": live.wallet_address}))


@pytest.mark.parametrize("request_id", [new_id(), uuid4(), UUID(int=0), UUID(int=2**128 - 1)])
def test_database_makes_the_same_trade_id(db: Database, owner: Owner, database_url: str, request_id: UUID) -> None:
    order = owner.deposit("1", request_id=request_id)
    assert db.trades.deposit(order).transaction.id == order.trade_id
    assert order.trade_id.version == 8
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT trade_id_of(%s, %s)", [owner.agent_id, request_id]).fetchone()
    assert found == (order.trade_id,)


@given(agent_id=st.uuids(), request_id=st.uuids())
def test_trade_id_rises_with_the_request_id_and_differs_by_agent(agent_id: UUID, request_id: UUID) -> None:
    trade_id = trade_id_of(agent_id, request_id)
    assert trade_id.bytes[:6] == request_id.bytes[:6]
    assert trade_id != trade_id_of(UUID(int=agent_id.int ^ 1), request_id)
    assert trade_id != trade_id_of(agent_id, UUID(int=request_id.int ^ 1))


def test_trade_id_never_changes() -> None:
    """Stored ids are compared with those that later releases make."""
    request_id = UUID("018f0d2c-7b1a-7c3d-8e4f-0123456789ab")
    assert trade_id_of(UUID(int=1), request_id) == UUID("018f0d2c-7b1a-82c4-8278-f33dd6334759")
