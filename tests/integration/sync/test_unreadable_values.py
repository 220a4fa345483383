# Generated from tests/integration/aio/test_unreadable_values.py by `make sync`: do not edit.
"""Replies that cannot be read: of reads and streams, and replies with unexpected columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.errors import (
    BlockMisuse,
    CommittedButUnread,
    NoRow,
    QueryBindingError,
    TooManyRows,
    UnreadableValue,
)
from nexgent_db.models import SignalOrder
from nexgent_db.models.base import Row
from nexgent_db.queries.binding import BoundQuery
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.sync.session import FETCH_BATCH_SIZE
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.support.faults.unreadable import BEYOND

SIGNAL = SignalOrder(token_address="T", signal_type="buy", signal_strength=1)


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database of the test's own, with a single connection."""
    settings = replace(Settings.from_url(fresh_database_url), pool_min_size=1, pool_max_size=1, prepare_threshold=0)
    with Database(settings) as database:
        yield database


@pytest.fixture
def trader(db: Database) -> Owner:
    """An agent with 100 SOL and a position of 10 tokens."""
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("101"))
    db.trades.buy(owner.buy("1", "10"))
    return owner


def execute(url: str, statement: str, table: str | None = None) -> None:
    """Run the statement; ``table`` is to accept times beyond Python's calendar, as it did before it was adopted."""
    with psycopg.connect(url) as connection:
        if table is not None:
            connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_times_check".encode())
        connection.execute(statement.encode())


# --- Queries that are not this package's ---------------------------------------------------------


class Address(Row):
    """A row of one column."""

    wallet_address: str


class Things:
    """Methods for them."""

    def lock(self, agent_id: UUID) -> datetime:
        raise NotImplementedError

    def touch(self, agent_id: UUID) -> str:
        raise NotImplementedError

    def touch_optional(self, agent_id: UUID) -> str | None:
        raise NotImplementedError

    def touch_short(self, agent_id: UUID) -> Address:
        raise NotImplementedError


def run(db: Database, folder: Path, text: str, method: Any, agent_id: UUID) -> Any:
    """Run the query of this text, named like the method, on a connection of its own."""
    name = method.__name__
    path = folder / "things.sql"
    path.write_text(f"-- name: {name} {text};\n")
    bound = BoundQuery(load_file(path).queries[name], method)
    return db._session.run(bound, bound.call((agent_id,), {}))


# --- Reads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", BEYOND)
def test_unreadable_read_names_query_and_column_without_value(
    db: Database, trader: Owner, fresh_database_url: str, value: str
) -> None:
    execute(fresh_database_url, f"UPDATE agent_positions SET last_dca_time = '{value}'", "agent_positions")
    with pytest.raises(UnreadableValue) as caught:
        db.positions.list_by_agent(trader.agent_id)
    place = (caught.value.query, caught.value.table, caught.value.column)
    assert place == ("positions.list_by_agent", "agent_positions", "last_dca_time")
    assert str(caught.value) == (
        "positions.list_by_agent: column last_dca_time of table agent_positions holds a value that Python has no form"
        " for"
    )
    assert isinstance(caught.value.__cause__, psycopg.DataError)
    for pipeline in (False, True):
        with pytest.raises(UnreadableValue, match="last_dca_time"), db.transaction(pipeline=pipeline) as tx:
            tx.positions.list_by_agent(trader.agent_id)


def test_unreadable_column_is_found_after_readable_rows(db: Database, trader: Owner, fresh_database_url: str) -> None:
    signals = db.signals.create_many_of(trader.user_id, [SIGNAL] * 3)
    execute(
        fresh_database_url,
        f"UPDATE trading_signals SET updated_at = 'infinity' WHERE id = {signals[1].id}",
        "trading_signals",
    )
    with pytest.raises(UnreadableValue) as caught:
        db.signals.list_by_user(trader.user_id)
    assert caught.value.column == "updated_at"


def test_locking_read_is_no_write(db: Database, trader: Owner, fresh_database_url: str, tmp_path: Path) -> None:
    execute(fresh_database_url, "UPDATE agents SET updated_at = 'infinity'", "agents")
    lock = ":one\nSELECT updated_at FROM agents WHERE id = :agent_id FOR NO KEY UPDATE"
    with pytest.raises(UnreadableValue, match="updated_at"):
        run(db, tmp_path, lock, Things.lock, trader.agent_id)


@pytest.mark.parametrize("pipeline", [None, False, True], ids=["alone", "block", "pipeline"])
def test_stream_returns_rows_before_unreadable_page(
    db: Database, trader: Owner, fresh_database_url: str, pipeline: bool | None
) -> None:
    signals = db.signals.create_many_of(trader.user_id, [SIGNAL] * (FETCH_BATCH_SIZE + 1))
    execute(
        fresh_database_url,
        f"UPDATE trading_signals SET updated_at = 'infinity' WHERE id = {signals[0].id}",
        "trading_signals",
    )  # the oldest
    seen: list[int] = []

    def read(on: Any) -> None:
        for signal in on.signals.stream_by_user(trader.user_id):
            seen.append(signal.id)  # noqa: PERF401  # as they come, up to the error

    with pytest.raises(UnreadableValue) as caught:
        if pipeline is None:
            read(db)
        else:
            with db.transaction(pipeline=pipeline) as tx:
                read(tx)
    assert (caught.value.query, caught.value.column) == ("signals.stream_by_user", "updated_at")
    assert len(seen) == FETCH_BATCH_SIZE
    assert db.signals.find_by_id(signals[1].id) is not None


# --- Streams beyond their transaction -----------------------------------------------------------------


def test_stream_of_ended_transaction_leaves_next_transaction_alone(db: Database, trader: Owner) -> None:
    """Both transactions have the one connection of the pool."""
    db.signals.create_many_of(trader.user_id, [SIGNAL] * 3)
    with db.transaction() as tx:
        stream: Any = tx.signals.stream_by_user(trader.user_id)
        assert next(stream) is not None
    with db.transaction() as other:
        other.trades.deposit(trader.deposit("1"))
        stream.close()
        other.trades.deposit(trader.deposit("1"))
    assert balance_of(db, trader) == 102


def test_stream_of_ended_transaction_fetches_no_more(db: Database, trader: Owner) -> None:
    db.signals.create_many_of(trader.user_id, [SIGNAL] * (FETCH_BATCH_SIZE + 1))
    with db.transaction() as tx:
        stream: Any = tx.signals.stream_by_user(trader.user_id)
        assert next(stream) is not None
    with db.transaction() as other:
        other.trades.deposit(trader.deposit("1"))
        with pytest.raises(BlockMisuse, match=r"signals\.stream_by_user"):
            for _ in stream:
                pass
        other.trades.deposit(trader.deposit("1"))
    assert balance_of(db, trader) == 102


# --- Shapes -------------------------------------------------------------------------------------

TOUCH = "UPDATE agent_wallets SET updated_at = '2030-01-01Z' WHERE agent_id = :agent_id RETURNING wallet_address"
FUNCTION = """
    CREATE FUNCTION touch_v1(of uuid) RETURNS SETOF text LANGUAGE sql AS
    $$ UPDATE agent_wallets SET updated_at = '2030-01-01Z' WHERE agent_id = of RETURNING wallet_address $$
"""


def touched(db: Database, agent_id: UUID) -> int:
    """How many wallets of the agent a statement of these tests has changed."""
    return sum(wallet.updated_at.year == 2030 for wallet in db.wallets.list_by_agent(agent_id))


@pytest.fixture
def with_function(fresh_database_url: str) -> None:
    execute(fresh_database_url, FUNCTION)


@pytest.mark.usefixtures("with_function")
@pytest.mark.parametrize(
    ("text", "method", "cause"),
    [
        (f":one\n{TOUCH}", Things.touch, TooManyRows),
        (f":optional\n{TOUCH}", Things.touch_optional, TooManyRows),
        (f":one\nWITH touched AS ({TOUCH}) SELECT wallet_address FROM touched", Things.touch, TooManyRows),
        (f":one\nWITH touched AS ({TOUCH}) SELECT wallet_address FROM touched WHERE false", Things.touch, NoRow),
        (":one\nSELECT name FROM touch_v1(:agent_id) AS name", Things.touch, TooManyRows),
        (":one\nSELECT touch_v1(:agent_id)", Things.touch, TooManyRows),
        (f":one\n{TOUCH}, agent_id", Things.touch_short, QueryBindingError),
    ],
    ids=["one", "optional", "cte", "none", "function", "select-function", "columns"],
)
def test_write_with_wrong_columns_is_committed(
    db: Database, trader: Owner, tmp_path: Path, text: str, method: Any, cause: type[Exception]
) -> None:
    db.wallets.create(f"L{uuid4().hex}", trader.agent_id, "live")
    with pytest.raises(CommittedButUnread) as caught:
        run(db, tmp_path, text, method, trader.agent_id)
    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.query == f"things.{method.__name__}"
    assert touched(db, trader.agent_id) == 2


def test_write_without_matching_row_returns_none(db: Database, tmp_path: Path) -> None:
    with pytest.raises(NoRow):
        run(db, tmp_path, f":one\n{TOUCH}", Things.touch, uuid4())


def test_read_with_wrong_columns_is_not_a_write(db: Database, trader: Owner, tmp_path: Path) -> None:
    db.wallets.create(f"L{uuid4().hex}", trader.agent_id, "live")
    with pytest.raises(TooManyRows):
        run(
            db,
            tmp_path,
            ":one\nSELECT wallet_address FROM agent_wallets WHERE agent_id = :agent_id",
            Things.touch,
            trader.agent_id,
        )
