"""The export of closed trades on real servers."""

from __future__ import annotations

import csv
from decimal import Decimal
from io import StringIO
from uuid import uuid4

from nexgent_db import AsyncDatabase
from nexgent_db.models import SignalOrder, SwapFilter
from tests.examples.engine.support import TOKENS, trips_of
from tests.examples.engine.swap_export import COLUMNS, export_swaps
from tests.integration.aio.factories import Owner, funded_owner


async def traded(db: AsyncDatabase, owner: Owner, token: str, sol: str, signal_id: int | None = None) -> None:
    await db.trades.buy(owner.buy("1", "1000", token, signal_id=signal_id))
    await db.trades.sell(owner.sell("1000", sol, token, close_reason="stop_loss"))


async def test_export_has_each_trade_with_its_signal_newest_first(db: AsyncDatabase) -> None:
    owner, stranger = await funded_owner(db), await funded_owner(db)
    signal = await db.signals.create(
        SignalOrder(token_address=TOKENS[0], signal_type="BUY", signal_strength=3, user_id=owner.user_id)
    )
    await traded(db, owner, TOKENS[0], "1.5", signal.id)
    await traded(db, owner, TOKENS[1], "0.5")
    await traded(db, stranger, TOKENS[0], "2")
    file = StringIO()
    assert await export_swaps(db, owner.agent_id, file) == 2
    head, newest, oldest = csv.reader(file.getvalue().splitlines())
    assert head == list(COLUMNS)
    assert (newest[0], newest[4], newest[5:]) == (TOKENS[1], "-0.500000000000000000", ["stop_loss", "", ""])
    assert (oldest[0], oldest[4], oldest[5:]) == (TOKENS[0], "0.500000000000000000", ["stop_loss", "BUY", "3"])
    chosen = StringIO()
    assert await export_swaps(db, owner.agent_id, chosen, SwapFilter(min_profit_loss_sol=Decimal(0))) == 1
    assert await export_swaps(db, uuid4(), StringIO()) == 0


async def test_export_is_one_query_streamed(db: AsyncDatabase) -> None:
    """BEGIN; the cursor; its rows, which are fewer than 1,000; CLOSE; COMMIT."""
    owner = await funded_owner(db)
    for number in range(5):
        await traded(db, owner, TOKENS[number], "1")
    assert await trips_of(db, lambda: export_swaps(db, owner.agent_id, StringIO())) <= 5
