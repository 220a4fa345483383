"""``nexgent-db ledger``: the check, wallet by wallet; old requests pruned; an agent purged, on the record."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput, WalletNotFound
from tests.integration.sync.factories import new_owner
from tests.support.oracles.state import rows_of


def run(url: str, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["ledger", *arguments, "--database-url", url])
    return done.exit_code, done.stdout


def test_check_finds_the_balance_that_differs(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owners = [new_owner(db) for _ in range(3)]
        for owner in owners:
            db.trades.deposit(owner.deposit("10"))
            db.trades.buy(owner.buy("1", "5", network_fee_sol="0.5"))
        assert run(fresh_database_url, "check") == (0, "3 wallets, 0 balances differ from the ledger\n")
        with psycopg.connect(fresh_database_url, autocommit=True) as psql:
            changed = "UPDATE agent_balances SET balance = balance + 1 WHERE wallet_address = %s AND balance < 6"
            psql.execute(changed, [owners[1].wallet_address])
        (found,) = db.balances.list_ledger_differences(owners[1].wallet_address)
        assert (found.balance, found.ledger_total) == (6, 5)
        assert db.balances.list_ledger_differences(owners[0].wallet_address) == []
    code, said = run(fresh_database_url, "check")
    assert code == 1
    assert f"{owners[1].wallet_address} {found.token_address}: balance 6" in said
    assert "3 wallets, 1 balances differ" in said


def test_prune_requests_deletes_old_ones_only(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        orders = [owner.deposit("1") for _ in range(5)]
        db.trades.execute_many(orders)
        with psycopg.connect(fresh_database_url, autocommit=True) as psql:
            psql.execute(
                "UPDATE trade_requests SET created_at = now() - interval '91 days' WHERE id <> %s",
                [orders[0].trade_id],
            )
        pruned = run(fresh_database_url, "prune-requests", "--older-than-days", "90", "--batch", "3")
        assert pruned == (0, "4 requests older than 90 days deleted\n")
        kept = db.trade_requests.list_by_ids([order.trade_id for order in orders])
        assert [request.id for request in kept] == [orders[0].trade_id]


def test_purge_agent_deletes_and_records(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("1"))
    code, said = run(fresh_database_url, "purge-agent", str(owner.agent_id), "--reason", "erasure request 17")
    assert (code, said) == (0, f"agent {owner.agent_id} deleted, with 1 transactions and 0 historical swaps\n")
    assert not any(rows_of(fresh_database_url, owner.agent_id).values())
    with psycopg.connect(fresh_database_url) as psql:
        assert psql.execute("SELECT agent_id, reason FROM ledger_purges").fetchall() == [
            (owner.agent_id, "erasure request 17")
        ]
    empty = CliRunner().invoke(
        app, ["ledger", "purge-agent", str(uuid4()), "--reason", " ", "--database-url", fresh_database_url]
    )
    assert isinstance(empty.exception, InvalidInput)
    assert run(fresh_database_url, "purge-agent", str(uuid4()), "--reason", "x")[0] == 1


def test_purge_in_batches_goes_on_where_it_ended_and_stops_the_agents_trades(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db, psycopg.connect(fresh_database_url, autocommit=True) as psql:
        victim, other = new_owner(db), new_owner(db)
        for owner in (victim, other):
            db.trades.deposit(owner.deposit("100"))
            for number in range(5):
                db.trades.buy(owner.buy("1", "5", f"T{number}"))
                db.trades.sell(owner.sell("5", "2", f"T{number}"))
            db.trades.buy(owner.buy("1", "5", "open"))
        batch = "SELECT transactions, historical_swaps, finished_at FROM purge_agent_batch_v1(%s, 'x', 3)"
        kept = rows_of(fresh_database_url, other.agent_id)
        assert [psql.execute(batch, [victim.agent_id]).fetchone() for _ in range(3)] == [
            (0, 3, None),
            (3, 5, None),
            (6, 5, None),
        ]
        with pytest.raises(WalletNotFound):
            db.trades.deposit(victim.deposit("1"))
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            psql.execute("DELETE FROM agent_transactions WHERE agent_id = %s", [victim.agent_id])
        code, said = run(fresh_database_url, "purge-agent", str(victim.agent_id), "--reason", "x", "--batch", "4")
        assert (code, said) == (0, f"agent {victim.agent_id} deleted, with 12 transactions and 5 historical swaps\n")
        assert not any(rows_of(fresh_database_url, victim.agent_id).values())
        assert rows_of(fresh_database_url, other.agent_id) == kept
        assert psql.execute(
            "SELECT agent_id, reason, transactions, historical_swaps, finished_at IS NULL FROM ledger_purges"
        ).fetchall() == [(victim.agent_id, "x", 12, 5, False)]
        db.trades.deposit(other.deposit("1"))


def test_order_of_purged_agent_is_new_once_agent_and_wallet_are_made_again(fresh_database_url: str) -> None:
    """As docs/pages/concepts/trades.md says: give no agent the id of a purged one."""
    with Database(fresh_database_url) as db:
        owner = new_owner(db)
        order = owner.deposit("1")
        db.trades.deposit(order)
        assert run(fresh_database_url, "purge-agent", str(owner.agent_id), "--reason", "a test")[0] == 0
        with pytest.raises(WalletNotFound):
            db.trades.deposit(order)
        db.agents.create(owner.user_id, "made again", agent_id=owner.agent_id)
        with pytest.raises(WalletNotFound):
            db.trades.deposit(order)
        db.wallets.create(owner.wallet_address, owner.agent_id, "simulation")
        assert not db.trades.deposit(order).duplicate
        assert db.trades.deposit(order).duplicate
    page = (Path(__file__).parents[2] / "docs/pages/concepts/trades.md").read_text(encoding="utf-8")
    assert "A purge deletes an agent's requests" in page
