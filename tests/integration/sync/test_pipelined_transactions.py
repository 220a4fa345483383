# Generated from tests/integration/aio/test_pipelined_transactions.py by `make sync`: do not edit.
"""Pipelined transactions: every cardinality returns the same results as without a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from nexgent_db import Database, Transaction
from nexgent_db.errors import ForeignKeyViolation, TransactionAborted
from nexgent_db.models import BalanceSnapshotOrder, SignalOrder
from nexgent_db.observe import QueryEvent
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.queries.statement import Cardinality
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.session import FETCH_BATCH_SIZE
from tests.integration.sync.factories import Owner, new_owner

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

    def give_away(self, user_id: UUID) -> None:
        raise NotImplementedError


def store_config(tx: Transaction, owner: Owner) -> int:
    return tx.agents.store_config(owner.agent_id, "{}")


def delete_agent(tx: Transaction, owner: Owner) -> int:
    return tx.agents.delete(owner.agent_id)


def upsert_snapshots(tx: Transaction, owner: Owner) -> int:
    return tx.balance_snapshots.create_many([snapshot(owner, 1), snapshot(owner, 2)])


def delete_snapshots(tx: Transaction, owner: Owner) -> int:
    tx.balance_snapshots.create_many([snapshot(owner, hour) for hour in range(3)])
    return tx.balance_snapshots.delete_older_than(datetime(2000, 1, 1, tzinfo=UTC), 3)


def delete_signal(tx: Transaction, owner: Owner) -> int:
    (signal_id,) = [signal.id for signal in tx.signals.create_many_of(owner.user_id, [SIGNAL])]
    return tx.signals.delete(signal_id)


def reset_failed_logins(tx: Transaction, owner: Owner) -> int:
    tx.users.record_failed_login(owner.user_id)
    return tx.users.reset_failed_logins(owner.user_id)


def delete_user(tx: Transaction, owner: Owner) -> int:
    return tx.users.delete(owner.user_id)


def delete_wallet(tx: Transaction, owner: Owner) -> int:
    return tx.wallets.delete(owner.agent_id, owner.wallet_address)


def delete_user_cell(tx: Transaction, owner: Owner) -> int:
    tx.user_cells.create(owner.user_id, "cell_1")
    return tx.user_cells.delete(owner.user_id, "cell_1")


COUNTED: dict[str, tuple[Callable[[Transaction, Owner], int], int]] = {
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


def test_every_counting_query_is_covered(db: Database) -> None:
    counting = {
        bound.name
        for repository in vars(db).values()
        if isinstance(repository, Repository)
        for bound in repository.queries.values()
        if bound.query.cardinality is Cardinality.ROWS
    }
    assert counting == COUNTED.keys()


@pytest.mark.parametrize("name", COUNTED)
def test_count_of_affected_rows_is_exact(db: Database, owner: Owner, name: str) -> None:
    count, expected = COUNTED[name]
    with db.transaction(pipeline=True) as tx:
        assert count(tx, owner) == expected


def test_count_without_matching_row_is_zero(db: Database) -> None:
    with db.transaction(pipeline=True) as tx:
        assert tx.users.delete(uuid4()) == 0


def test_hook_receives_count(database_url: str) -> None:
    events: list[QueryEvent] = []
    with Database(database_url, on_query=events.append) as observed:
        owner = new_owner(observed)
        events.clear()
        with observed.transaction(pipeline=True) as tx:
            tx.agents.delete(owner.agent_id)
    assert [(event.name, event.rows) for event in events] == [("agents.delete", 1), ("transaction.commit", None)]


def test_failed_counting_statement_raises_where_sent(db: Database, owner: Owner) -> None:
    order = snapshot(Owner(owner.user_id, uuid4(), owner.wallet_address), 1)
    with pytest.raises(ForeignKeyViolation), db.transaction(pipeline=True) as tx:
        with pytest.raises(ForeignKeyViolation, match=r"balance_snapshots\.upsert_many") as caught:
            tx.balance_snapshots.create_many([order])
        raise caught.value


def test_statement_without_result_fails_at_end_of_pipeline(db: Database, owner: Owner, tmp_path: Path) -> None:
    path = tmp_path / "things.sql"
    path.write_text("-- name: give_away :exec\nUPDATE agents SET user_id = :user_id;\n")
    bound = BoundQuery(load_file(path).queries["give_away"], Things.give_away)
    with pytest.raises(ForeignKeyViolation), db.transaction(pipeline=True) as tx:
        tx.agents.update(owner.agent_id, name="renamed")
        assert tx.agents._session.run(bound, bound.call((uuid4(),), {})) is None
    assert [each.agent.name for each in db.agents.find_by_user_id(owner.user_id)] == ["tester"]


def test_statement_after_failed_one_raises_transaction_aborted(db: Database, owner: Owner) -> None:
    order = snapshot(Owner(owner.user_id, uuid4(), owner.wallet_address), 1)
    with pytest.raises(TransactionAborted), db.transaction(pipeline=True) as tx:
        with pytest.raises(ForeignKeyViolation):
            tx.balance_snapshots.create_many([order])
        tx.users.delete(owner.user_id)
    assert db.users.find_by_id(owner.user_id) is not None


def test_stream_and_other_calls_work_in_pipeline(db: Database, owner: Owner) -> None:
    db.signals.create_many_of(owner.user_id, [SIGNAL] * (FETCH_BATCH_SIZE + 5))
    with db.transaction(pipeline=True) as tx:
        seen: list[Any] = []
        for signal in tx.signals.stream_by_user(owner.user_id):
            if len(seen) % 500 == 0:
                assert tx.signals.find_by_id(signal.id) == signal
            seen.append(signal)
        assert [signal for signal in tx.signals.stream_by_user(owner.user_id)] == seen
        assert tx.users.delete(owner.user_id) == 1
    assert len(seen) == FETCH_BATCH_SIZE + 5


def test_abandoned_stream_leaves_transaction_usable(db: Database, owner: Owner) -> None:
    db.signals.create_many_of(owner.user_id, [SIGNAL] * 3)
    with db.transaction(pipeline=True) as tx:
        stream: Any = tx.signals.stream_by_user(owner.user_id)
        with closing(stream):
            for _ in stream:
                break
        cursors = tx._connection.execute("SELECT name FROM pg_cursors WHERE name LIKE 'stream%'")
        assert cursors.fetchall() == []
        assert tx.agents.delete(owner.agent_id) == 1
    assert db.agents.find_by_user_id(owner.user_id) == []
