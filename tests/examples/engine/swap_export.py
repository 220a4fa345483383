"""Export of closed trades: each beside the signal that it was bought on, as CSV. One query, however many there are.

The rows are fetched as they are written, 1,000 at a time: an export of millions takes the memory of one of thousands.
"""

from __future__ import annotations

import csv
from typing import Final, TextIO
from uuid import UUID

from nexgent_db import AsyncDatabase
from nexgent_db.models import AgentHistoricalSwap, SwapFilter, TradingSignal

COLUMNS: Final = ("token", "bought", "sold", "amount", "profit_sol", "close_reason", "signal_type", "signal_strength")
ALL: Final = SwapFilter()


async def export_swaps(db: AsyncDatabase, agent_id: UUID, to: TextIO, filter: SwapFilter = ALL) -> int:
    """Write the agent's closed trades that the filter chooses, newest sale first; the number of trades."""
    writer = csv.writer(to)
    writer.writerow(COLUMNS)
    count = 0
    async for swap, signal in db.historical_swaps.stream_with_signal(agent_id, filter):
        writer.writerow(row_of(swap, signal))
        count += 1
    return count


def row_of(swap: AgentHistoricalSwap, signal: TradingSignal | None) -> tuple[object, ...]:
    """A line of the file, with every digit of the figures."""
    return (
        swap.token_address,
        swap.purchase_time.isoformat(),
        swap.sale_time.isoformat(),
        f"{swap.amount:f}",
        f"{swap.profit_loss_sol:f}",
        swap.close_reason,
        None if signal is None else signal.signal_type,
        None if signal is None else signal.signal_strength,
    )
