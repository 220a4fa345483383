"""``nexgent-db verify``: every rule of sql/checks.sql, on a database in use, in parts that can be continued."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.cli import verify as verify_
from nexgent_db.cli.app import app
from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import Cells
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.resources import data_dir
from tests.integration.sync.factories import TOKEN, Owner, funded_owner

RULES = load_file(data_dir("sql") / "checks.sql").queries


@dataclass(frozen=True)
class Trading:
    """A database with some agents, in the order of their ids, that have bought and sold."""

    url: str
    owners: list[Owner]

    def psql(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # no trigger, no foreign key
            connection.execute(statement.encode(), values)


@pytest.fixture
def trading(fresh_database_url: str) -> Trading:
    with Database(fresh_database_url) as db:
        owners = [funded_owner(db) for _ in range(5)]
        for owner in owners:
            db.trades.buy(owner.buy("1", "5"))
    return Trading(fresh_database_url, sorted(owners, key=lambda owner: owner.agent_id))


def verify(url: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = CliRunner().invoke(app, ["verify", "--json", *arguments, "--database-url", url])
    return done.exit_code, json.loads(done.stdout), done.stderr


def test_consistent_database_has_no_broken_row(trading: Trading) -> None:
    code, said, _ = verify(trading.url, "--agents", "2")
    assert (code, said["agents"], said["broken"], said["rows"]) == (0, 5, {}, [])
    assert said["continue_from"] is None
    done = CliRunner().invoke(app, ["verify", "--database-url", trading.url])
    assert (done.exit_code, done.stdout) == (0, "5 agents checked: no row breaks a rule\n")


BROKEN = {
    "balances_equal_their_ledger": (
        "UPDATE agent_balances SET balance = balance + 1 WHERE agent_id = %s AND balance = 5"
    ),
    "positions_have_something_left": "UPDATE agent_positions SET remaining_amount = 0 WHERE agent_id = %s",
    "positions_equal_their_transactions": "UPDATE agent_positions SET total_invested_sol = 7 WHERE agent_id = %s",
    "swaps_have_no_open_position": (
        "INSERT INTO agent_historical_swaps (id, agent_id, wallet_address, token_address, token_symbol, amount,"
        " purchase_price, sale_price, change_percent, profit_loss_usd, profit_loss_sol, purchase_time, sale_time,"
        " purchase_transaction_id) SELECT gen_random_uuid(), agent_id, wallet_address, token_address, 'T', 1, 1, 1, 0,"
        " 0, 0, now(), now(), purchase_transaction_id FROM agent_positions WHERE agent_id = %s"
    ),
    "requests_name_the_wallet_of_their_transaction": (
        "UPDATE trade_requests SET wallet_address = 'another' WHERE operation = 'buy' AND agent_id = %s"
    ),
}


def test_every_rule_has_a_broken_database() -> None:
    assert BROKEN.keys() == RULES.keys()


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("count", ["1", "500"])
def test_row_that_breaks_a_rule_is_printed_with_its_key(trading: Trading, rule: str, count: str) -> None:
    """Whatever the ranges: in the first, in the middle and in the last."""
    for owner in (trading.owners[0], trading.owners[2], trading.owners[4]):
        trading.psql(BROKEN[rule], owner.agent_id)
    code, said, _ = verify(trading.url, "--agents", count)
    assert (code, said["broken"][rule]) == (1, 3)
    rows = [row for row in said["rows"] if row["rule"] == rule]
    assert len(rows) == 3
    with psycopg.connect(trading.url) as connection:
        whole = connection.execute(RULES[rule].statement(()).text.encode()).fetchall()
    assert {str(row[0]) for row in whole} == {row.get("id") or row["wallet_address"] for row in rows}


def test_plain_output_names_rule_and_key(trading: Trading) -> None:
    trading.psql(BROKEN["balances_equal_their_ledger"], trading.owners[1].agent_id)
    done = CliRunner().invoke(app, ["verify", "--database-url", trading.url])
    first, last = done.stdout.splitlines()
    wallet = trading.owners[1].wallet_address
    assert first == (
        f"balances_equal_their_ledger: wallet_address {wallet}, token_address {TOKEN}, balance 6, ledger_total 5"
    )
    assert (done.exit_code, last) == (1, "5 agents checked: 1 balances_equal_their_ledger")


def test_row_of_a_missing_agent_is_checked(trading: Trading) -> None:
    owner = trading.owners[4]
    trading.psql(
        "UPDATE agent_positions SET agent_id = 'ffffffff-0000-0000-0000-000000000000', remaining_amount = 0"
        " WHERE agent_id = %s",
        owner.agent_id,
    )
    _, said, _ = verify(trading.url, "--agents", "1")
    assert said["broken"]["positions_have_something_left"] == 1


def test_all_are_counted_and_some_are_listed(trading: Trading) -> None:
    for owner in trading.owners:
        trading.psql(BROKEN["positions_have_something_left"], owner.agent_id)
    code, said, _ = verify(trading.url, "--limit", "2")
    assert (code, said["broken"]["positions_have_something_left"], len(said["rows"])) == (1, 5, 2)


def test_time_that_is_over_prints_the_place_and_the_rest_can_follow(
    trading: Trading, monkeypatch: pytest.MonkeyPatch
) -> None:
    trading.psql(BROKEN["positions_have_something_left"], trading.owners[0].agent_id)
    trading.psql(BROKEN["positions_have_something_left"], trading.owners[4].agent_id)
    answers = iter([False, False, True])
    monkeypatch.setattr(verify_, "_is_over", lambda _: next(answers))
    code, said, err = verify(trading.url, "--agents", "1", "--for", "60")
    place = said["continue_from"]
    assert (code, said["agents"], place) == (1, 2, str(trading.owners[1].agent_id))
    assert f"continue with --from {place}" in err
    monkeypatch.undo()
    code, said, _ = verify(trading.url, "--agents", "1", "--from", place)
    assert (code, said["agents"], said["continue_from"]) == (1, 3, None)
    assert said["broken"]["positions_have_something_left"] == 1


def test_unfinished_run_without_a_broken_row_is_exit_code_2(trading: Trading) -> None:
    code, said, _ = verify(trading.url, "--for", "0")
    assert (code, said["agents"], said["broken"]) == (2, 0, {})


def test_failure_prints_the_place_to_continue(trading: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is lost after two ranges."""
    check, done = verify_._check_range, list[UUID]()

    def losing(tx: Any, rules: Any, progress: Any, after: UUID, last: UUID, cell: str | None) -> None:
        if len(done) == 2:
            with psycopg.connect(trading.url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        check(tx, rules, progress, after, last, cell)
        done.append(last)

    monkeypatch.setattr(verify_, "_check_range", losing)
    code, said, err = verify(trading.url, "--agents", "1")
    assert code == 1  # of typer's runner: main() gives 4
    assert said["error"]["code"] == "connection_lost"
    assert said["continue_from"] == str(trading.owners[1].agent_id)
    assert f"continue with --from {trading.owners[1].agent_id}" in err


def test_one_snapshot_while_trades_go_on(trading: Trading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trades commit between the queries, and a balance is broken after the snapshot: the check sees neither."""
    check, over = verify_._check_range, threading.Event()

    def slow(tx: Any, rules: Any, progress: Any, after: UUID, last: UUID, cell: str | None) -> None:
        check(tx, rules, progress, after, last, cell)
        with Database(trading.url) as db:
            for owner in trading.owners:
                db.trades.deposit(owner.deposit("1"))
        if not over.is_set():
            trading.psql(BROKEN["positions_have_something_left"], trading.owners[4].agent_id)
        over.set()

    monkeypatch.setattr(verify_, "_check_range", slow)
    code, said, _ = verify(trading.url, "--agents", "1")
    assert (code, said["broken"]) == (0, {})
    monkeypatch.undo()
    assert verify(trading.url)[1]["broken"] == {
        "positions_equal_their_transactions": 1,
        "positions_have_something_left": 1,
    }


def test_every_cell_is_checked(trading: Trading) -> None:
    Cells(trading.url).create("cell_1")
    with Database(trading.url) as db:
        owner = funded_owner(db.for_schema("cell_1"))
    trading.psql("UPDATE cell_1.agent_balances SET balance = balance + 1")
    code, said, _ = verify(trading.url, "--cells")
    (row,) = said["rows"]
    assert (code, said["agents"], row["cell"], row["wallet_address"]) == (1, 6, "cell_1", owner.wallet_address)
    done = CliRunner().invoke(app, ["verify", "--cells", "--from", str(owner.agent_id), "--database-url", trading.url])
    assert isinstance(done.exception, InvalidInput)
