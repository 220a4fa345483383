"""The profits of an agent or a wallet."""

from __future__ import annotations

from nexgent_db.models.base import Percent, Row, TokenNumber, UsdNumber


class Performance(Row):
    """The profit realised over a time and the number of trades that made it; and the positions open now.

    ``realized_profit_sol`` sums closed trades and the take-profits of positions that are still open;
    ``realized_profit_usd`` sums closed trades only. ``win_rate_percent`` and ``average_return_percent`` are None
    without a closed trade. ``cost_basis_sol`` is the cost of the remaining amounts of open positions.
    """

    realized_profit_sol: TokenNumber
    realized_profit_usd: UsdNumber
    closed_trades: int
    won_trades: int
    win_rate_percent: Percent | None
    average_return_percent: Percent | None
    open_positions: int
    cost_basis_sol: TokenNumber
