"""Pipelined transactions: every cardinality returns the same results as without a pipeline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.aio.session import FETCH_BATCH_SIZE
from nexgent_db.errors import ForeignKeyViolation, TransactionAborted
from nexgent_db.models import BalanceSnapshotOrder, SignalOrder
from nexgent_db.observe import QueryEvent
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.queries.statement import Cardinality
from tests.integration.aio.factories import Owner, new_owner

SIGNAL = SignalOrder(token_address="T", signal_type="buy", signal_strength=1)


def snapshot(owner: Owner, hour: int) -> BalanceSnapshotOrder:
    figures = dict.fromkeys(
        ("portfolio_balance_sol", "sol_balance", "positions_value_sol", "unrealized_pnl_sol"), Decimal(1)
    )
    at = datetime(1999, 1, 1, hour, tzinfo=UTC)
    return BalanceSnapshotOrder(
        agent_id=owner.agent_id, wallet_address=owner.wallet_address, snapshot_timestamp=at, **figures
    )


class Things:
    """A method of a query that is not this package's."""

    async def give_away(self, user_id: UUID) -> None:
        raise NotImplementedError


async def store_config(tx: AsyncTransaction, owner: Owner) -> int:
    return await tx.agents.store_config(owner.agent_id, "{}")


async def delete_agent(tx: AsyncTransaction, owner: Owner) -> int:
    return await tx.agents.delete(owner.agent_id)


async def upsert_snapshots(tx: AsyncTransaction, owner: Owner) -> int:
    return await tx.balance_snapshots.create_many([snapshot(owner, 1), snapshot(owner, 2)])


async def delete_snapshots(tx: AsyncTransaction, owner: Owner) -> int:
    await tx.balance_snapshots.create_many([snapshot(owner, hour) for hour in range(3)])
    return await tx.balance_snapshots.delete_older_than(datetime(2000, 1, 1, tzinfo=UTC), 3)


async def delete_signal(tx: AsyncTransaction, owner: Owner) -> int:
    (signal_id,) = [signal.id for signal in await tx.signals.create_many_of(owner.user_id, [SIGNAL])]
    return await tx.signals.delete(signal_id)


async def reset_failed_logins(tx: AsyncTransaction, owner: Owner) -> int:
    await tx.users.record_failed_login(owner.user_id)
    return await tx.users.reset_failed_logins(owner.user_id)


async def delete_user(tx: AsyncTransaction, owner: Owner) -> int:
    return await tx.users.delete(owner.user_id)


async def delete_wallet(tx: AsyncTransaction, owner: Owner) -> int:
    return await tx.wallets.delete(owner.agent_id, owner.wallet_address)


async def delete_user_cell(tx: AsyncTransaction, owner: Owner) -> int:
    await tx.user_cells.create(owner.user_id, "cell_1")
    return await tx.user_cells.delete(owner.user_id, "cell_1")


COUNTED: dict[str, tuple[Callable[[AsyncTransaction, Owner], Awaitable[int]], int]] = {
    "agents.store_config": (store_config, 1),
    "agents.delete": (delete_agent, 1),
    "balance_snapshots.upsert_many": (upsert_snapshots, 2),
    "balance_snapshots.delete_older_than": (delete_snapshots, 3),
    "signals.delete": (delete_signal, 1),
    "users.reset_failed_logins": (reset_failed_logins, 1),
    "user_cells.delete": (delete_user_cell, 1),
    "users.delete": (delete_user, 1),
    "wallets.delete": (delete_wallet, 1),
}


def test_every_counting_query_is_covered(db: AsyncDatabase) -> None:
    counting = {
        bound.name
        for repository in vars(db).values()
        if isinstance(repository, Repository)
        for bound in repository.queries.values()
        if bound.query.cardinality is Cardinality.ROWS
    }
    assert counting == COUNTED.keys()


@pytest.mark.parametrize("name", COUNTED)
async def test_count_of_affected_rows_is_exact(db: AsyncDatabase, owner: Owner, name: str) -> None:
    count, expected = COUNTED[name]
    async with db.transaction(pipeline=True) as tx:
        assert await count(tx, owner) == expected


async def test_count_without_matching_row_is_zero(db: AsyncDatabase) -> None:
    async with db.transaction(pipeline=True) as tx:
        assert await tx.users.delete(uuid4()) == 0


async def test_hook_receives_count(database_url: str) -> None:
    events: list[QueryEvent] = []
    async with AsyncDatabase(database_url, on_query=events.append) as observed:
        owner = await new_owner(observed)
        events.clear()
        async with observed.transaction(pipeline=True) as tx:
            await tx.agents.delete(owner.agent_id)
    assert [(event.name, event.rows) for event in events] == [("agents.delete", 1), ("transaction.commit", None)]


async def test_failed_counting_statement_raises_where_sent(db: AsyncDatabase, owner: Owner) -> None:
    order = snapshot(Owner(owner.user_id, uuid4(), owner.wallet_address), 1)
    with pytest.raises(ForeignKeyViolation):
        async with db.transaction(pipeline=True) as tx:
            with pytest.raises(ForeignKeyViolation, match=r"balance_snapshots\.upsert_many") as caught:
                await tx.balance_snapshots.create_many([order])
            raise caught.value


async def test_statement_without_result_fails_at_end_of_pipeline(
    db: AsyncDatabase, owner: Owner, tmp_path: Path
) -> None:
    path = tmp_path / "things.sql"
    path.write_text("-- name: give_away :exec\nUPDATE agents SET user_id = :user_id;\n")
    bound = BoundQuery(load_file(path).queries["give_away"], Things.give_away)
    with pytest.raises(ForeignKeyViolation):
        async with db.transaction(pipeline=True) as tx:
            await tx.agents.update(owner.agent_id, name="renamed")
            assert await tx.agents._session.run(bound, bound.call((uuid4(),), {})) is None
    assert [each.agent.name for each in await db.agents.find_by_user_id(owner.user_id)] == ["tester"]


async def test_statement_after_failed_one_raises_transaction_aborted(db: AsyncDatabase, owner: Owner) -> None:
    order = snapshot(Owner(owner.user_id, uuid4(), owner.wallet_address), 1)
    with pytest.raises(TransactionAborted):
        async with db.transaction(pipeline=True) as tx:
            with pytest.raises(ForeignKeyViolation):
                await tx.balance_snapshots.create_many([order])
            await tx.users.delete(owner.user_id)
    assert await db.users.find_by_id(owner.user_id) is not None


async def test_stream_and_other_calls_work_in_pipeline(db: AsyncDatabase, owner: Owner) -> None:
    await db.signals.create_many_of(owner.user_id, [SIGNAL] * (FETCH_BATCH_SIZE + 5))
    async with db.transaction(pipeline=True) as tx:
        seen: list[Any] = []
        async for signal in tx.signals.stream_by_user(owner.user_id):
            if len(seen) % 500 == 0:
                assert await tx.signals.find_by_id(signal.id) == signal
            seen.append(signal)
        assert [signal async for signal in tx.signals.stream_by_user(owner.user_id)] == seen
        assert await tx.users.delete(owner.user_id) == 1
    assert len(seen) == FETCH_BATCH_SIZE + 5


async def test_abandoned_stream_leaves_transaction_usable(db: AsyncDatabase, owner: Owner) -> None:
    await db.signals.create_many_of(owner.user_id, [SIGNAL] * 3)
    async with db.transaction(pipeline=True) as tx:
        stream: Any = tx.signals.stream_by_user(owner.user_id)
        async with aclosing(stream):
            async for _ in stream:
                break
        cursors = await tx._connection.execute("SELECT name FROM pg_cursors WHERE name LIKE 'stream%'")
        assert await cursors.fetchall() == []
        assert await tx.agents.delete(owner.agent_id) == 1
    assert await db.agents.find_by_user_id(owner.user_id) == []
