"""What an agent or a wallet has earned."""

from __future__ import annotations

from nexgent_db.models._base import Percent, Row, TokenNumber, UsdNumber


class Performance(Row):
    """Over a time: what was realised, in what number of trades; and what is open now.

    ``realized_profit_sol`` counts closed trades, and the take-profits of positions that are still open;
    ``realized_profit_usd`` closed trades only. ``win_rate_percent`` and ``average_return_percent`` are None without a
    closed trade. ``cost_basis_sol`` is what the remaining amounts of open positions cost.
    """

    realized_profit_sol: TokenNumber
    realized_profit_usd: UsdNumber
    closed_trades: int
    won_trades: int
    win_rate_percent: Percent | None
    average_return_percent: Percent | None
    open_positions: int
    cost_basis_sol: TokenNumber
