"""Request ids belong to an agent: nobody takes another's, or waits for one."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexgent_db import AsyncDatabase
from nexgent_db.errors import IdempotencyConflict
from nexgent_db.models import trade_id_of
from nexgent_db.models.ids import new_id
from tests.integration.aio.factories import Owner, new_owner


async def test_id_taken_by_another_user_is_free(db: AsyncDatabase, owner: Owner) -> None:
    other = await new_owner(db)
    request_id = uuid4()
    for each, amount in ((owner, "10"), (other, "7")):
        order = each.deposit(amount, request_id=request_id)
        made = await db.trades.deposit(order)
        assert (made.transaction.id, made.duplicate) == (order.trade_id, False)
        assert (await db.trades.deposit(order)).duplicate
    balances = [(await db.balances.list_by_wallet(each.agent_id, each.wallet_address))[0] for each in (owner, other)]
    assert [balance.balance for balance in balances] == [10, 7]


async def test_squatted_hash_does_not_block_an_import(db: AsyncDatabase, owner: Owner) -> None:
    """Wallet, hash and leg are public: so is the request id that they make."""
    squatter = await new_owner(db)
    imported = owner.deposit("10", transaction_hash="5xHash")
    await db.trades.deposit(squatter.deposit("1", request_id=imported.request_id))
    await db.trades.deposit(squatter.deposit("1", request_id=imported.trade_id))
    made = await db.trades.deposit(imported)
    assert (made.transaction.id, made.transaction.transaction_hash) == (imported.trade_id, "5xHash")


async def test_id_in_another_users_open_transaction_is_not_waited_for(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    squatter = await new_owner(db)
    order = owner.deposit("10")
    async with AsyncDatabase(database_url) as other, other.transaction() as tx:
        await tx.trades.deposit(squatter.deposit("1", request_id=order.request_id))
        assert not (await db.trades.deposit(order)).duplicate


async def test_one_id_for_both_wallets_of_an_agent_is_conflict(db: AsyncDatabase, owner: Owner) -> None:
    live = await db.wallets.create(f"live {owner.agent_id}", owner.agent_id, "live")
    first = owner.deposit("10")
    await db.trades.deposit(first)
    with pytest.raises(IdempotencyConflict, match="another order of this id"):
        await db.trades.deposit(first.model_copy(update={"wallet_address": live.wallet_address}))


@pytest.mark.parametrize("request_id", [new_id(), uuid4(), UUID(int=0), UUID(int=2**128 - 1)])
async def test_database_makes_the_same_trade_id(
    db: AsyncDatabase, owner: Owner, database_url: str, request_id: UUID
) -> None:
    order = owner.deposit("1", request_id=request_id)
    assert (await db.trades.deposit(order)).transaction.id == order.trade_id
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
