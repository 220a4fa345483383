"""``ledger``: compare balances with it; delete old requests; delete an agent with its ledger, on the record."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer

from nexgent_db.cli import target
from nexgent_db.cli.schema import connected
from nexgent_db.cli.target import DatabaseUrl, RequireUrl
from nexgent_db.errors import InvalidInput
from nexgent_db.sync.cache.queries import CacheQueries
from nexgent_db.sync.database import Database

__all__ = ["register"]

_WALLETS: Final = 1000
_ledger = typer.Typer(help="Is it right, what does it keep, and for how long?", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.add_typer(_ledger, name="ledger")


@_ledger.command()
def check(database_url: DatabaseUrl = None) -> None:
    """Compare each balance with the sum of its wallet's transactions, wallet by wallet; exit with 1 if one differs."""
    wallets = different = 0
    with target.opened(database_url) as database, Database(database.without_cache) as db:
        pages, after = CacheQueries(db._session), ""
        while page := pages.page_of_wallets(after, _WALLETS):
            after = page[-1].wallet_address
            for wallet in page:
                for found in db.balances.list_ledger_differences(wallet.wallet_address):
                    different += 1
                    typer.echo(
                        f"{wallet.wallet_address} {found.token_address}: balance {found.balance:f},"
                        f" ledger {found.ledger_total:f}"
                    )
            wallets += len(page)
    typer.echo(f"{wallets} wallets, {different} balances differ from the ledger")
    if different:
        raise typer.Exit(1)


@_ledger.command("prune-requests")
def prune_requests(
    older_than_days: Annotated[
        int, typer.Option(min=1, metavar="DAYS", help="How long a service may still repeat an order.")
    ],
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="How many requests one transaction deletes.")] = 1000,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete the stored requests of old trades, batch by batch. A repeated order of one is refused from then on."""
    before = datetime.now(UTC) - timedelta(days=older_than_days)
    pruned = 0
    with target.written(database_url, require_url) as database, Database(database.without_cache) as db:
        while (deleted := db.trade_requests.prune(before, batch)) > 0:
            pruned += deleted
    typer.echo(f"{pruned} requests older than {older_than_days} days deleted")


@_ledger.command("purge-agent")
def purge_agent(
    agent_id: Annotated[UUID, typer.Argument(help="The agent.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded in ledger_purges.")],
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="How many rows one transaction deletes.")] = 1000,
    rest: Annotated[
        float, typer.Option(min=0, max=100, help="How long to rest after each, as a multiple of its time.")
    ] = 2.0,
    require_url: RequireUrl = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Delete an agent with its wallets, balances, positions and ledger, and record it. For the tables' owner only.

    It goes batch by batch, each committed, and works a third of the time by default: other agents' trades
    do not wait for it. From the first batch on the agent's own trades are refused. After an interruption, run it again:
    it continues its record.
    """
    if not reason.strip():
        raise InvalidInput("reason", "must not be empty: it is what remains of the ledger")
    with target.written(database_url, require_url) as database, connected(database.settings.conninfo) as conn:
        while True:
            started = time.monotonic()
            row = conn.execute(
                "SELECT transactions, historical_swaps, finished_at FROM purge_agent_batch_v1(%s, %s, %s)",
                [agent_id, reason, batch],
            ).fetchone()
            assert row is not None
            if row[2] is not None:
                break
            time.sleep(rest * (time.monotonic() - started))
    typer.echo(f"agent {agent_id} deleted, with {row[0]} transactions and {row[1]} historical swaps")
