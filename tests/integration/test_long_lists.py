"""Long lists: page 10,000 costs as much as page 1, and a stream holds 1,000 rows at any table size."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import RawCursor

from nexgent_db import Database
from nexgent_db.models import PositionFilter, SignalFilter, SwapFilter, TransactionFilter
from nexgent_db.models.pages import AfterToken, AfterUuid, BeforeNumber, BeforeUuid
from nexgent_db.sync.session import FETCH_BATCH_SIZE
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner, new_owner
from tests.support.oracles.round_trips import pooled_connection

ROWS = 100_100
A_PAGE = 10
START = datetime(2100, 1, 1, tzinfo=UTC)
"""Row n is n seconds later."""

_FILL = """
INSERT INTO agent_transactions (
    id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, input_mint, input_symbol,
    input_amount
)
SELECT md5('t' || n)::uuid, %(agent)s, %(wallet)s, 'DEPOSIT', 0, %(start)s + n * interval '1 second', 'M', 'M', 1
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO agent_historical_swaps (
    id, agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price, change_percent,
    profit_loss_usd, profit_loss_sol, purchase_time, sale_time
)
SELECT md5('s' || n)::uuid, %(agent)s, %(wallet)s, 'M', 'M', 1, 1, 1, 0, 0, 0, %(start)s,
    %(start)s + n * interval '1 second'
FROM generate_series(1, %(rows)s) AS n;
INSERT INTO trading_signals (token_address, signal_type, signal_strength, user_id, created_at)
SELECT 'M', 'BUY', 1, %(user)s, %(start)s + n * interval '1 second' FROM generate_series(1, %(rows)s) AS n;
INSERT INTO agent_positions (
    id, agent_id, wallet_address, token_address, token_symbol, purchase_transaction_id, purchase_price,
    purchase_amount, remaining_amount, total_invested_sol, created_at
)
SELECT md5('p' || n)::uuid, %(agent)s, %(wallet)s, 'T' || lpad(n::text, 6, '0'), 'T', md5('t' || n)::uuid, 1, 1, 1, 1,
    %(start)s + n * interval '1 second'
FROM generate_series(1, %(rows)s) AS n;
ANALYZE agent_transactions, agent_historical_swaps, trading_signals, agent_positions;
"""


@pytest.fixture(scope="module")
def filled(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[tuple[Database, Owner]]:
    """An owner with a long history of everything."""
    with nexgent_databases.copy(nexgent_template_url) as url, Database(url) as db:
        owner = new_owner(db)
        with psycopg.connect(url) as connection:
            connection.execute("SET session_replication_role = replica")  # no triggers, which take most of the time
            values = {
                "agent": owner.agent_id,
                "wallet": owner.wallet_address,
                "user": owner.user_id,
                "start": START,
                "rows": ROWS,
            }
            psycopg.ClientCursor(connection).execute(_FILL, values)
        yield db, owner


def cost(db: Database, text: bytes, values: tuple[object, ...]) -> tuple[int, int]:
    """How many blocks the statement read, and how many rows, in memory or not."""
    with pooled_connection(db) as connection:
        cursor = RawCursor(connection)
        cursor.execute(b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + text, values, prepare=False)
        row: Any = cursor.fetchone()
    plan = row[0][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"], sum(rows_read(plan))


def rows_read(plan: dict[str, Any]) -> Iterator[int]:
    """By each node, those thrown away included."""
    yield round(plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)))
    for below in plan.get("Plans", ()):
        yield from rows_read(below)


def transactions(db: Database, owner: Owner, before: BeforeUuid) -> tuple[bytes, tuple[object, ...]]:
    """The statement of a page."""
    arguments = (owner.agent_id, TransactionFilter(), before, A_PAGE + 1)
    call = db.transactions.queries["list_by_agent"].call(arguments, {})
    return call.text, call.values


def swaps(db: Database, owner: Owner, before: BeforeUuid) -> tuple[bytes, tuple[object, ...]]:
    """The statement of a page."""
    arguments = (owner.agent_id, SwapFilter(), before, A_PAGE + 1)
    call = db.historical_swaps.queries["list_by_agent"].call(arguments, {})
    return call.text, call.values


def signals(db: Database, owner: Owner, before: BeforeUuid) -> tuple[bytes, tuple[object, ...]]:
    """The statement of a page; a signal's id is a number."""
    number = None if before.before_time is None else 2**62
    arguments = (owner.user_id, SignalFilter(), BeforeNumber(before_time=before.before_time, before_id=number), 11)
    call = db.signals.queries["list_by_user"].call(arguments, {})
    return call.text, call.values


def open_positions(db: Database, owner: Owner, before: BeforeUuid) -> tuple[bytes, tuple[object, ...]]:
    """The statement of a page; it is ordered by id."""
    after = AfterUuid(after_id=None if before.before_time is None else UUID(int=0xF << 124))
    call = db.positions.queries["list_open"].call((PositionFilter(), after, A_PAGE + 1), {})
    return call.text, call.values


def open_tokens(db: Database, owner: Owner, before: BeforeUuid) -> tuple[bytes, tuple[object, ...]]:
    """The statement of a page; it is ordered by token."""
    after = AfterToken(after_token=None if before.before_time is None else f"T{9_999 * A_PAGE:06}")
    call = db.positions.queries["list_open_tokens"].call((after, A_PAGE + 1), {})
    return call.text, call.values


Statement = Callable[[Database, Owner, BeforeUuid], tuple[bytes, tuple[object, ...]]]


@pytest.mark.parametrize("statement", [transactions, swaps, signals, open_positions, open_tokens])
def test_page_ten_thousand_reads_as_few_rows_as_page_one(filled: tuple[Database, Owner], statement: Statement) -> None:
    db, owner = filled
    place = START + timedelta(seconds=ROWS - 9_999 * A_PAGE)
    deep = BeforeUuid(before_time=place, before_id=UUID(int=2**128 - 1))
    blocks_of_first, rows_of_first = cost(db, *statement(db, owner, BeforeUuid()))
    blocks, rows = cost(db, *statement(db, owner, deep))
    assert rows <= rows_of_first + 2 * A_PAGE
    assert blocks <= blocks_of_first + 10


def test_page_of_token_or_agent_reads_only_its_positions(filled: tuple[Database, Owner]) -> None:
    db, _ = filled
    stranger = new_owner(db)
    tokens = [f"T{number:06}" for number in range(1, 100_001, 10_000)]
    for filter_, count in (
        (PositionFilter(token_addresses=tokens), len(tokens)),
        (PositionFilter(token_addresses=tokens, agent_ids=[stranger.agent_id]), len(tokens)),
        (PositionFilter(agent_ids=[stranger.agent_id]), 0),
    ):
        call = db.positions.queries["list_open"].call((filter_, AfterUuid(), 1000), {})
        blocks, rows = cost(db, call.text, call.values)
        assert rows <= 6 * count
        assert blocks <= 20 * (count + 1)


def test_offset_reads_more_rows(filled: tuple[Database, Owner]) -> None:
    """The measure of the test above distinguishes OFFSET from a cursor."""
    db, owner = filled
    text, values = transactions(db, owner, BeforeUuid())
    blocks, rows = cost(db, text, values)
    offset_blocks, offset_rows = cost(db, text + b" OFFSET 99990", values)
    assert offset_rows > 1_000 * rows
    assert offset_blocks > 10 * blocks


def test_last_pages_return_remaining_rows(filled: tuple[Database, Owner]) -> None:
    db, owner = filled
    place = START + timedelta(seconds=15)
    page = db.transactions.list_by_agent(
        owner.agent_id, TransactionFilter(), BeforeUuid(before_time=place, before_id=UUID(int=0)), 100
    )
    assert [row.transaction_time for row in page] == [START + timedelta(seconds=n) for n in range(14, 0, -1)]


def peak_of_streaming(db: Database, owner: Owner, rows: int) -> int:
    """The peak of Python's memory, in bytes, above that before the call."""
    newest = TransactionFilter(time_from=START + timedelta(seconds=ROWS - rows + 1))
    tracemalloc.start()
    try:
        assert sum(1 for _ in db.transactions.stream_by_agent(owner.agent_id, newest)) == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_stream_memory_does_not_grow_with_rows(filled: tuple[Database, Owner]) -> None:
    db, owner = filled
    peak_of_streaming(db, owner, 10)  # what is made once is made
    few = peak_of_streaming(db, owner, 3 * FETCH_BATCH_SIZE)
    many = peak_of_streaming(db, owner, 30 * FETCH_BATCH_SIZE)
    assert many < 1.2 * few


STREAMS: dict[str, Callable[[Database, Owner], Iterator[object]]] = {
    "open positions": lambda db, _: db.positions.stream_open(),
    "open tokens": lambda db, _: db.positions.stream_open_tokens(),
    "positions with purchase": lambda db, owner: db.positions.stream_with_purchase(owner.agent_id),
}


@pytest.mark.parametrize("name", STREAMS)
def test_stream_of_positions_has_constant_memory(filled: tuple[Database, Owner], name: str) -> None:
    db, owner = filled

    def peak_of(rows: int) -> int:
        """As above, of so many rows of the stream."""
        tracemalloc.start()
        try:
            stream = STREAMS[name](db, owner)
            assert sum(1 for _ in islice(stream, rows)) == rows
            stream.close()  # type: ignore[attr-defined]
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_of(10)
    few = peak_of(3 * FETCH_BATCH_SIZE)
    assert peak_of(30 * FETCH_BATCH_SIZE) < 1.2 * few


def test_stream_reads_from_server_side_cursor(filled: tuple[Database, Owner]) -> None:
    db, owner = filled
    stream = db.transactions.stream_by_agent(owner.agent_id)
    next(iter(stream))
    with psycopg.connect(db.settings.conninfo) as connection:
        found = connection.execute(
            "SELECT query FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        queries = [query for (query,) in found]
    stream.close()  # type: ignore[attr-defined]
    assert [query for query in queries if f"FETCH FORWARD {FETCH_BATCH_SIZE}" in query]
