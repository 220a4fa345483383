"""``replay`` and ``demo``: replay a wallet's history through the trades, and show the result."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from nexgent_db._text import plain
from nexgent_db.cli import target
from nexgent_db.cli.cache import verified
from nexgent_db.cli.machine import print_json
from nexgent_db.cli.progress import Progress as MigrationProgress
from nexgent_db.cli.show import one_line, progress_bar, show_table
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.errors import CacheUnreachable
from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.cache import CacheComparison
from nexgent_db.models.filters import SwapFilter, TransactionFilter
from nexgent_db.models.transactions import AgentTransaction
from nexgent_db.replay import Account, BadLine, ReplayReport
from nexgent_db.replay import replay as replay_file
from nexgent_db.sync.database import Database

__all__ = ["register"]

DEMO_HISTORY: Final = Path(__file__).with_name("demo_history.jsonl")
_LAST_TRADES: Final = 15


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command()(replay)
    app.command()(demo)


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE.jsonl", help="Events, one JSON object a line, oldest first.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    agents: Annotated[int, typer.Option(min=1, max=1000, help="How many agents share the history.")] = 1,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Replay a wallet's history through the trades. A second run continues the first; no trade is made twice.

    The command also updates a cache (REDIS_URL; an embedded Valkey beside an embedded PostgreSQL), and compares it with
    the database at the end. It reports each unreadable line with its number; the others are replayed. Exit code 1 when
    there is such a line, or when a cached entry differs from the database.
    """
    with target.opened(database_url, with_cache=True, writes=True, require_url=require_url) as where:
        if where.embedded:
            target.migrate(where)
        else:
            target.ensure_migrated(where)
        with Database(where.settings) as db:
            report = _replay(db, file, agents)
            compared = None if where.settings.redis_url is None else _compared(db)
    if as_json:
        print_json(_document(report, compared))
    else:
        _show(report)
        if compared is not None:
            typer.echo(verified(compared))
    if report.bad_lines or (compared is not None and compared.differences):
        raise typer.Exit(1)


def demo(database_url: DatabaseUrl = None) -> None:
    """Migrate, replay a small made-up history, and show the balances, positions and trades it leaves."""
    with target.written(database_url) as where:
        progress = MigrationProgress()
        target.migrate(where, progress.step, progress.message)
        with Database(where.settings) as db:
            report = _replay(db, DEMO_HISTORY, agents=1)
            (account,) = report.accounts
            _show_balances(db, account)
            _show_positions(db, account)
            _show_closed(db, account)
            _show_trades(db, account)
    _show(report)


# --- Replaying ----------------------------------------------------------------------------------


def _replay(db: Database, file: Path, agents: int) -> ReplayReport:
    with progress_bar("replaying") as on_progress:
        return replay_file(db, file, agents=agents, on_bad_line=_tell_bad_line, on_progress=on_progress)


def _compared(db: Database) -> CacheComparison | None:
    """Compare the cache with the database; None, and a line on stderr, when Redis is unreachable."""
    try:
        return db.cache.admin.verify()
    except CacheUnreachable as error:
        typer.echo(one_line(f"the cache was not compared: {error}"), err=True)
        return None


def _tell_bad_line(line: BadLine) -> None:
    typer.echo(one_line(str(line)), err=True)


def _document(report: ReplayReport, compared: CacheComparison | None) -> dict[str, int | str]:
    cache = {} if compared is None else {"cache_compared": compared.compared, "cache_different": compared.differences}
    return {
        **{str(outcome): count for outcome, count in report.outcomes.items()},
        "open_positions": report.open_positions,
        "closed": report.closed,
        "realized_profit_sol": plain(report.realized_profit_sol),
        "sol_balance": plain(report.sol_balance),
        **cache,
    }


# --- Showing ------------------------------------------------------------------------------------


def _show(report: ReplayReport) -> None:
    rows: list[tuple[str, int | Decimal]] = [
        (outcome.replace("_", " "), count) for outcome, count in report.outcomes.items()
    ]
    rows += [
        ("events", report.events),
        ("open positions", report.open_positions),
        ("closed trades", report.closed),
        ("realised profit, SOL", report.realized_profit_sol),
        ("SOL balance", report.sol_balance),
    ]
    if report.opening_sol:
        rows.append(("of it opening deposits, SOL", report.opening_sol))
    rows.append(("events per second", round(report.events_per_s)))
    show_table("Replay", ("", "figure"), rows)


def _show_balances(db: Database, account: Account) -> None:
    show_table(
        "Balances",
        ("symbol", "token", "balance"),
        [
            (balance.token_symbol, balance.token_address, balance.balance)
            for balance in db.balances.list_by_wallet(account.agent_id, account.wallet_address)
        ],
    )


def _show_positions(db: Database, account: Account) -> None:
    show_table(
        "Open positions",
        ("symbol", "price, SOL", "bought", "remaining", "invested, SOL", "realised, SOL", "DCA", "sold in part"),
        [
            (
                position.token_symbol,
                position.purchase_price,
                position.purchase_amount,
                position.remaining,
                position.total_invested_sol,
                position.realized_profit_sol,
                position.dca_count,
                position.take_profit_levels_hit,
            )
            for position in db.positions.list_by_agent(account.agent_id, account.wallet_address)
        ],
    )


def _show_closed(db: Database, account: Account) -> None:
    show_table(
        "Closed trades",
        ("symbol", "amount", "bought at, SOL", "sold at, SOL", "profit, SOL", "change, %"),
        [
            (
                swap.token_symbol,
                swap.amount,
                swap.purchase_price,
                swap.sale_price,
                swap.profit_loss_sol,
                swap.change_percent,
            )
            for swap in db.historical_swaps.list_by_agent(
                account.agent_id, SwapFilter(wallet_address=account.wallet_address)
            )
        ],
    )


def _show_trades(db: Database, account: Account) -> None:
    trades = db.transactions.list_by_agent(
        account.agent_id, TransactionFilter(wallet_address=account.wallet_address), limit=_LAST_TRADES
    )
    show_table(
        f"The last {len(trades)} trades",
        ("time (UTC)", "what", "gave", "", "received", "", "USD"),
        [
            (
                f"{trade.transaction_time:%Y-%m-%d %H:%M:%S}",
                _kind(trade),
                *_gave_and_received(trade),
                trade.transaction_value_usd,
            )
            for trade in trades
        ],
    )


def _kind(trade: AgentTransaction) -> str:
    if trade.is_dca:
        return "DCA buy"
    if trade.is_take_profit:
        return "take-profit"
    if trade.transaction_type == "SWAP" and SOL_MINT in (trade.input_mint, trade.output_mint):
        return "buy" if trade.input_mint == SOL_MINT else "sale"
    return trade.transaction_type.lower()


def _gave_and_received(trade: AgentTransaction) -> tuple[Decimal | str, str, Decimal | str, str]:
    given = (trade.input_amount or "", trade.input_symbol or "")
    if trade.transaction_type == "DEPOSIT":
        return ("", "", *given)
    return (*given, trade.output_amount or "", trade.output_symbol or "")
