"""Lists of transactions, historical swaps and signals: filters, pages, streams and counts."""

from __future__ import annotations

import gc
import warnings
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.errors import BlockMisuse, ConnectionLost, InvalidInput
from nexgent_db.models import SignalFilter, SignalOrder, SwapFilter, TransactionFilter
from tests.integration.aio.factories import TOKEN, Owner, new_owner

START = datetime(2025, 5, 1, tzinfo=UTC)


def _at(hour: int) -> datetime:
    return START + timedelta(hours=hour)


async def _trade_for_a_day(db: AsyncDatabase, owner: Owner) -> int:
    """Four kinds of transactions at known hours; returns the signal that the buys name."""
    signal = await db.signals.create(
        SignalOrder(token_address=TOKEN, signal_type="BUY", signal_strength=3, user_id=owner.user_id)
    )
    await db.trades.deposit(owner.deposit("100", transaction_time=_at(0)))
    await db.trades.buy(owner.buy("1", "10", transaction_time=_at(1), signal_id=signal.id))
    await db.trades.dca_buy(owner.dca_buy("1", "10", transaction_time=_at(2)))
    await db.trades.take_profit(owner.take_profit("5", "1", transaction_time=_at(3)))
    await db.trades.sell(owner.sell("15", "4", transaction_time=_at(4), close_reason="stop_loss"))
    await db.trades.buy(owner.buy("1", "10", "Other", transaction_time=_at(5)))
    await db.trades.sell(owner.sell("10", "0.5", "Other", transaction_time=_at(6)))
    await db.trades.withdraw(owner.withdraw("1", transaction_time=_at(7)))
    return signal.id


@pytest.mark.parametrize(
    ("filter_", "hours"),
    [
        ({}, [7, 6, 5, 4, 3, 2, 1, 0]),
        ({"transaction_type": "DEPOSIT"}, [0]),
        ({"transaction_type": "SWAP"}, [6, 5, 4, 3, 2, 1]),
        ({"time_from": _at(2), "time_to": _at(4)}, [4, 3, 2]),
        ({"is_dca": True}, [2]),
        ({"is_take_profit": True}, [3]),
        ({"is_dca": False, "is_take_profit": False, "time_from": _at(5)}, [7, 6, 5]),
        ({"wallet_address": "elsewhere"}, []),
    ],
)
async def test_transaction_filter_applies_given_fields(
    db: AsyncDatabase, owner: Owner, filter_: dict[str, Any], hours: list[int]
) -> None:
    await _trade_for_a_day(db, owner)
    chosen = TransactionFilter(**filter_)
    expected = [_at(hour) for hour in hours]
    listed = await db.transactions.list_by_agent(owner.agent_id, chosen)
    assert [transaction.transaction_time for transaction in listed] == expected
    assert [row async for row in db.transactions.stream_by_agent(owner.agent_id, chosen)] == listed
    assert await db.transactions.count_by_agent(owner.agent_id, chosen) == len(hours)


async def test_transaction_filter_applies_signal(db: AsyncDatabase, owner: Owner) -> None:
    signal_id = await _trade_for_a_day(db, owner)
    found = await db.transactions.list_by_agent(owner.agent_id, TransactionFilter(signal_id=signal_id))
    assert [row.transaction_time for row in found] == [_at(4), _at(3), _at(1)]  # the sales have the purchase's signal


@pytest.mark.parametrize(
    ("filter_", "hours"),
    [
        ({}, [6, 4]),
        ({"token_address": TOKEN}, [4]),
        ({"token_symbol": "Other"}, [6]),
        ({"sale_time_from": _at(5)}, [6]),
        ({"sale_time_to": _at(5)}, [4]),
        ({"purchase_time_from": _at(1), "purchase_time_to": _at(1)}, [4]),
        ({"min_profit_loss_sol": "0"}, [4]),
        ({"max_profit_loss_sol": "-0.5"}, [6]),
        ({"min_profit_loss_sol": "-1", "max_profit_loss_sol": "10"}, [6, 4]),
    ],
)
async def test_swap_filter_applies_given_fields(
    db: AsyncDatabase, owner: Owner, filter_: dict[str, Any], hours: list[int]
) -> None:
    await _trade_for_a_day(db, owner)
    chosen = SwapFilter(**filter_)
    listed = await db.historical_swaps.list_by_agent(owner.agent_id, chosen)
    assert [swap.sale_time for swap in listed] == [_at(hour) for hour in hours]
    assert [row async for row in db.historical_swaps.stream_by_agent(owner.agent_id, chosen)] == listed
    assert await db.historical_swaps.count_by_agent(owner.agent_id, chosen) == len(hours)


async def test_swap_filter_applies_transactions_and_signal(db: AsyncDatabase, owner: Owner) -> None:
    signal_id = await _trade_for_a_day(db, owner)
    both = await db.historical_swaps.list_by_agent(owner.agent_id)
    for name in ("purchase_transaction_id", "sale_transaction_id"):
        ids: dict[str, Any] = {f"{name}s": [getattr(both[0], name), uuid4()]}
        found = await db.historical_swaps.list_by_agent(owner.agent_id, SwapFilter(**ids))
        assert found == both[:1]
    assert await db.historical_swaps.list_by_agent(owner.agent_id, SwapFilter(signal_id=signal_id)) == both[1:]


async def test_signal_filter_applies_given_fields(db: AsyncDatabase, owner: Owner) -> None:
    orders = [
        SignalOrder(token_address=token, signal_type=kind, signal_strength=strength, source=source)
        for token, kind, strength, source in (
            ("A", "BUY", 1, "x"),
            ("A", "SELL", 50, None),
            ("B", "BUY", 100, "y"),
        )
    ]
    made = await db.signals.create_many_of(owner.user_id, orders)
    for filter_, expected in (
        ({}, {0, 1, 2}),
        ({"token_address": "A"}, {0, 1}),
        ({"signal_type": "BUY"}, {0, 2}),
        ({"source": "y"}, {2}),
        ({"min_signal_strength": 50}, {1, 2}),
        ({"max_signal_strength": 50}, {0, 1}),
        ({"created_from": made[0].created_at}, {0, 1, 2}),
        ({"created_to": made[0].created_at - timedelta(seconds=1)}, set()),
    ):
        chosen = SignalFilter(**filter_)
        wanted = {made[place].id for place in expected}
        assert {signal.id for signal in await db.signals.list_by_user(owner.user_id, chosen)} == wanted
        assert {signal.id async for signal in db.signals.stream_by_user(owner.user_id, chosen)} == wanted
        assert await db.signals.count_by_user(owner.user_id, chosen) == len(wanted)


@pytest.mark.parametrize(
    ("kind", "content", "field"),
    [
        (TransactionFilter, {"transaction_kind": "SWAP"}, "transaction_kind"),
        (TransactionFilter, {"transaction_type": "TRANSFER"}, "transaction_type"),
        (TransactionFilter, {"time_from": _at(2), "time_to": _at(1)}, "time_from"),
        (SwapFilter, {"min_profit_loss_sol": "2", "max_profit_loss_sol": "1"}, "min_profit_loss_sol"),
        (SwapFilter, {"min_profit_loss_sol": 1.5}, "min_profit_loss_sol"),
        (SwapFilter, {"min_profit_loss_usd": "2", "max_profit_loss_usd": "1"}, "min_profit_loss_usd"),
        (SwapFilter, {"max_profit_loss_usd": "0.000000001"}, "max_profit_loss_usd"),
        (SwapFilter, {"sale_transaction_ids": []}, "sale_transaction_ids"),
        (SignalFilter, {"min_signal_strength": 0}, "min_signal_strength"),
    ],
)
def test_unknown_filter_or_value_is_refused(kind: type[Any], content: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        kind(**content)
    assert refused.value.field == field


# --- Pages --------------------------------------------------------------------------------------


async def test_pages_return_each_row_once_with_equal_times(db: AsyncDatabase, owner: Owner) -> None:
    for number in range(25):
        await db.trades.deposit(owner.deposit("1", transaction_time=_at(number // 10)))
    seen = []
    cursor = None
    while True:
        page = await db.transactions.page_by_agent(owner.agent_id, limit=4, cursor=cursor)
        assert 0 < len(page.items) <= 4
        seen += page.items
        if (cursor := page.next) is None:
            break
        await db.trades.deposit(owner.deposit("1", transaction_time=_at(100)))  # shifts nothing
    assert len(seen) == 25
    assert len({transaction.id for transaction in seen}) == 25
    assert [transaction.transaction_time for transaction in seen] == sorted(
        (transaction.transaction_time for transaction in seen), reverse=True
    )


async def test_last_page_has_no_next_cursor(db: AsyncDatabase, owner: Owner) -> None:
    assert (await db.transactions.page_by_agent(owner.agent_id)).items == []
    for _ in range(2):
        await db.trades.deposit(owner.deposit("1"))
    assert (await db.transactions.page_by_agent(owner.agent_id, limit=2)).next is None
    assert (await db.transactions.page_by_agent(owner.agent_id, limit=1)).next is not None


async def test_swaps_and_signals_are_paged(db: AsyncDatabase, owner: Owner) -> None:
    await _trade_for_a_day(db, owner)
    first = await db.historical_swaps.page_by_agent(owner.agent_id, limit=1)
    second = await db.historical_swaps.page_by_agent(owner.agent_id, limit=1, cursor=first.next)
    assert [swap.sale_time for swap in (*first.items, *second.items)] == [_at(6), _at(4)]
    await db.signals.create_many_of(
        owner.user_id, [SignalOrder(token_address="A", signal_type="BUY", signal_strength=1)] * 3
    )
    ids = []
    cursor = None
    for _ in range(4):
        page = await db.signals.page_by_user(owner.user_id, limit=1, cursor=cursor)
        ids += [signal.id for signal in page.items]
        cursor = page.next
    assert cursor is None
    assert ids == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    "cursor",
    ["", "page two", "WyJ0cmFuc2FjdGlvbnMiXQ==", "ünï", "bnVsbA==", "W10=", "WyJ0cmFuc2FjdGlvbnMiLG51bGwsbnVsbF0="],
)
async def test_malformed_cursor_is_refused(db: AsyncDatabase, owner: Owner, cursor: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await db.transactions.page_by_agent(owner.agent_id, cursor=cursor)
    assert refused.value.field == "cursor"


async def test_cursor_of_other_list_is_refused(db: AsyncDatabase, owner: Owner) -> None:
    await _trade_for_a_day(db, owner)
    cursor = (await db.historical_swaps.page_by_agent(owner.agent_id, limit=1)).next
    with pytest.raises(InvalidInput, match="a cursor of historical_swaps, not of transactions"):
        await db.transactions.page_by_agent(owner.agent_id, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 10**9])
async def test_limit_out_of_range_is_refused(db: AsyncDatabase, owner: Owner, limit: int) -> None:
    for listing in (db.transactions.list_by_agent, db.transactions.page_by_agent):
        with pytest.raises(InvalidInput) as refused:
            await listing(owner.agent_id, limit=limit)
        assert refused.value.field == "limit"


# --- Streams ------------------------------------------------------------------------------------


async def test_stream_works_alone_and_in_transaction_and_beside_other_calls(db: AsyncDatabase, owner: Owner) -> None:
    for _ in range(5):
        await db.trades.deposit(owner.deposit("1"))
    stream = db.transactions.stream_by_agent(owner.agent_id)
    alone = [await db.transactions.find_by_id(transaction.id) async for transaction in stream]
    assert len(alone) == 5
    async with db.transaction() as tx:
        inside = [transaction async for transaction in tx.transactions.stream_by_agent(owner.agent_id)]
        assert await tx.transactions.count_by_agent(owner.agent_id) == 5
    assert inside == alone
    with pytest.raises(BlockMisuse):
        [transaction async for transaction in tx.transactions.stream_by_agent(owner.agent_id)]


async def test_abandoned_stream_releases_its_connection(db: AsyncDatabase, owner: Owner) -> None:
    for _ in range(3):
        await db.trades.deposit(owner.deposit("1"))
    for _ in range(db.settings.pool_max_size + 1):
        stream = db.transactions.stream_by_agent(owner.agent_id)
        async for _transaction in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
    assert await db.transactions.count_by_agent(owner.agent_id) == 3


@pytest.mark.parametrize("left", [False, True])
async def test_stream_whose_connection_was_lost_leaves_no_cursor_open(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, left: bool
) -> None:
    monkeypatch.setattr("nexgent_db.aio.session.FETCH_BATCH_SIZE", 1)
    async with AsyncDatabase(fresh_database_url) as db:
        owner = await new_owner(db)
        for _ in range(2):
            await db.trades.deposit(owner.deposit("1"))
        stream = db.transactions.stream_by_agent(owner.agent_id)
        with (
            psycopg.connect(fresh_database_url, autocommit=True) as killer,
            warnings.catch_warnings(record=True) as open_,
        ):
            warnings.simplefilter("always")
            with nullcontext() if left else pytest.raises(ConnectionLost):  # what is left early needs no connection
                async for _transaction in stream:
                    killer.execute(
                        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    if left:
                        await stream.aclose()  # type: ignore[attr-defined]
            del stream
            gc.collect()
        assert [str(warning.message) for warning in open_] == []
