"""The profits of an agent or a wallet."""

from __future__ import annotations

from nexgent_db.models.base import Percent, Row, TokenNumber, UsdNumber


class Performance(Row):
    """The profit realised over a time, the trades closed in it, and the positions open now.

    ``realized_profit_sol`` sums what each sale and write-off of the time realised, so the summaries of any partition of
    time add up to the whole. ``realized_profit_usd`` sums the closed trades of which the profit in USD is known, None
    without one. ``win_rate_percent`` and ``average_return_percent`` are None without a closed trade. ``cost_basis_sol``
    is the cost of the remaining amounts of open positions: invested - received + realised. So realised profit plus
    (value - cost basis) of a position is what closing it at this value brings in all.
    """

    realized_profit_sol: TokenNumber
    realized_profit_usd: UsdNumber | None
    closed_trades: int
    won_trades: int
    win_rate_percent: Percent | None
    average_return_percent: Percent | None
    open_positions: int
    cost_basis_sol: TokenNumber
