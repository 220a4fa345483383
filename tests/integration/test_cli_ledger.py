"""``nexgent-db ledger``: the check, wallet by wallet; old requests pruned; an agent purged, on the record."""

from __future__ import annotations

from uuid import uuid4

import psycopg
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput
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
                [orders[0].request_id],
            )
        pruned = run(fresh_database_url, "prune-requests", "--older-than-days", "90", "--batch", "3")
        assert pruned == (0, "4 requests older than 90 days deleted\n")
        kept = db.trade_requests.list_by_ids([order.request_id for order in orders])
        assert [request.id for request in kept] == [orders[0].request_id]


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
