"""The replay on a real server: its result equals an independent calculation, also after it was killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from nexgent_db.cli.replay import DEMO_HISTORY
from nexgent_db.errors import DatabaseError
from nexgent_db.models.ids import request_id_of, trade_id_of
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.replay import BadLine, ReplayError, ReplayReport, replay
from nexgent_db.replay import holdings as replay_holdings
from nexgent_db.replay import run as replay_run
from nexgent_db.replay.accounts import Account, share_of
from nexgent_db.resources import data_dir
from nexgent_db.sync.database import Database
from tests.support.oracles import wallet_oracle

CHECKOUT = Path(__file__).parents[2]
REAL_HISTORY = CHECKOUT.parent / "shared" / "data" / "wallet_history" / "events.jsonl"
# The made-up history always; the real one as well where it stands beside the checkout.
HISTORIES = [
    pytest.param(DEMO_HISTORY, id="made-up"),
    *([pytest.param(REAL_HISTORY, id="real")] if REAL_HISTORY.exists() else []),
]

Row = tuple[Any, ...]


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Row]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def rows(url: str, query: str, *parameters: object) -> list[Row]:
    with connected(url) as connection:
        return connection.execute(query, parameters).fetchall()


def assert_checks_hold(url: str) -> None:
    with connected(url) as connection:
        for query in load_file(data_dir("sql") / "checks.sql").queries.values():
            (statement,) = query.variants()
            found = psycopg.RawCursor(connection).execute(statement.text).fetchall()
            assert not found, f"{query.qualified_name}: {found[:3]}"


def run(url: str, path: Path, agents: int = 1) -> ReplayReport:
    with Database(url) as db:
        return replay(db, path, agents=agents)


def same(first: ReplayReport, second: ReplayReport) -> bool:
    """Whether two reports are equal except for times."""
    return figures(first) == figures(second)


def figures(report: ReplayReport) -> Row:
    return (
        report.outcomes,
        report.bad_lines,
        report.open_positions,
        report.closed,
        report.realized_profit_sol,
        report.sol_balance,
        report.opening_sol,
    )


def assert_is_as_expected(url: str, account: Account, ledger: wallet_oracle.Ledger) -> None:
    """Every balance, position and closed trade of the account is the oracle's, digit for digit."""

    def ids(legs: Sequence[tuple[str, int]]) -> list[str]:
        return [str(trade_id_of(account.agent_id, request_id_of(account.wallet_address, *leg))) for leg in legs]

    wallet = account.wallet_address
    balances: dict[str, Decimal] = dict(
        rows(url, "SELECT token_address, balance FROM agent_balances WHERE wallet_address = %s", wallet)
    )
    assert balances == {token: wallet_oracle.exact(balance) for token, balance in ledger.balances.items()}

    positions = rows(
        url,
        """
        SELECT
            token_address, token_symbol, purchase_transaction_id::text, purchase_price, purchase_amount,
            total_invested_sol, remaining_amount, dca_count, take_profit_levels_hit,
            proceeds_sol, realized_profit_sol, lowest_price, peak_price, dca_transaction_ids::text[],
            take_profit_transaction_ids::text[]
        FROM agent_positions WHERE wallet_address = %s ORDER BY token_address
        """,
        wallet,
    )
    assert positions == [
        (
            token,
            position.symbol,
            *ids([position.purchase_leg]),
            position.price,
            wallet_oracle.exact(position.bought),
            wallet_oracle.exact(position.invested),
            wallet_oracle.exact(position.remaining),
            position.dca_count,
            position.levels_hit,
            wallet_oracle.exact(position.proceeds),
            wallet_oracle.exact(position.realized),
            position.lowest,
            position.peak,
            ids(position.dca_legs),
            ids(position.sale_legs),
        )
        for token, position in sorted(ledger.positions.items())
    ]

    swaps = rows(
        url,
        """
        SELECT
            sale_transaction_id::text, purchase_transaction_id::text, token_address, token_symbol, amount,
            purchase_price, sale_price, profit_loss_sol, change_percent, profit_loss_usd, purchase_time, sale_time
        FROM agent_historical_swaps WHERE wallet_address = %s ORDER BY sale_transaction_id::text
        """,
        wallet,
    )
    assert swaps == sorted(
        (
            *ids([swap.sale_leg, swap.purchase_leg]),
            swap.token,
            swap.symbol,
            swap.amount,
            swap.purchase_price,
            swap.sale_price,
            swap.profit_sol,
            swap.change_percent,
            swap.profit_usd,
            swap.purchase_time,
            swap.sale_time,
        )
        for swap in ledger.swaps
    )


def assert_reports(report: ReplayReport, ledger: wallet_oracle.Ledger) -> None:
    assert {outcome: count for outcome, count in report.outcomes.items() if count} == dict(ledger.outcomes)
    assert report.open_positions == len(ledger.positions)
    assert report.closed == len(ledger.swaps)
    assert report.realized_profit_sol == ledger.realized_profit_sol
    assert report.sol_balance == wallet_oracle.exact(ledger.balances[wallet_oracle.SOL])


# --- Against the independent calculation --------------------------------------------------------


@pytest.mark.parametrize("path", HISTORIES)
def test_replay_matches_oracle_and_repeat_changes_nothing(fresh_database_url: str, path: Path) -> None:
    report = run(fresh_database_url, path)

    ledger = wallet_oracle.expected(wallet_oracle.read_events(path))
    (account,) = report.accounts
    assert_reports(report, ledger)
    assert_is_as_expected(fresh_database_url, account, ledger)
    assert_checks_hold(fresh_database_url)

    def everything() -> list[Row]:
        tables = ("agent_transactions", "agent_balances", "agent_positions", "agent_historical_swaps", "agents")
        return [
            row for table in tables for row in rows(fresh_database_url, f"SELECT xmin::text, t::text FROM {table} AS t")
        ]

    before = everything()
    assert same(run(fresh_database_url, path), report)
    assert everything() == before


@pytest.mark.parametrize("path", HISTORIES)
def test_three_agents_share_history_and_sol_sums_up(fresh_database_url: str, path: Path) -> None:
    report = run(fresh_database_url, path, agents=3)

    ledgers = wallet_oracle.expected_of_many(wallet_oracle.read_events(path), 3, lambda mint: share_of(mint, 3))
    assert len({account.wallet_address for account in report.accounts}) == 3
    for account, ledger in zip(report.accounts, ledgers, strict=True):
        assert_is_as_expected(fresh_database_url, account, ledger)
    assert_checks_hold(fresh_database_url)
    assert sum(report.outcomes.values()) == len(wallet_oracle.read_events(path))
    assert report.opening_sol == sum(wallet_oracle.exact(-ledger.lowest_sol) for ledger in ledgers)
    ((moved,),) = rows(
        fresh_database_url,
        """
        SELECT sum(effect.change)
        FROM agent_transactions AS t
        CROSS JOIN LATERAL transaction_effects(
            t.transaction_type, t.input_mint, t.input_amount, t.output_mint, t.output_amount, NULL, NULL,
            t.settled_dust
        ) AS effect
        WHERE effect.token_address = sol_mint()
        """,
    )
    assert report.sol_balance == moved

    assert same(run(fresh_database_url, path, agents=3), report)


def test_replays_with_one_and_three_agents_use_different_agents(fresh_database_url: str) -> None:
    alone = run(fresh_database_url, DEMO_HISTORY)
    run(fresh_database_url, DEMO_HISTORY, agents=3)

    assert same(run(fresh_database_url, DEMO_HISTORY), alone)
    assert rows(fresh_database_url, "SELECT count(*) FROM agents") == [(4,)]
    assert rows(fresh_database_url, "SELECT count(*) FROM users") == [(1,)]


def swap(number: int, given: str, amount: str, received: str, of: str) -> dict[str, Any]:
    about = {"tx_hash": f"hash{number}", "time": f"2026-01-01T00:00:{number:02}Z", "wallet": "a wallet", "kind": "swap"}
    sides = {"input_mint": given, "input_symbol": "I", "input_amount": amount, "input_usd": "1"}
    return about | sides | {"output_mint": received, "output_symbol": "O", "output_amount": of}


def test_refusals_are_predicted_and_batch_is_decided_once(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decide_together(*_: object) -> None:
        raise AssertionError("the batch was decided again")

    monkeypatch.setattr(replay_run._Run, "_decide_together", decide_together)
    path = write(
        tmp_path / "history.jsonl",
        transfer(1, "2"),
        swap(2, "native", "5", "token", "9"),  # refused: not enough SOL
        swap(3, "native", "1", "token", "9"),  # a purchase: the one before has opened nothing
        swap(4, "native", "3", "token", "9"),  # refused
        swap(5, "token", "9", "native", "4"),
        swap(6, "native", "3", "token", "1"),
    )
    report = run(fresh_database_url, path)
    counts = (report.outcomes["buy"], report.outcomes["dca_buy"], report.outcomes["sell"], report.outcomes["refused"])
    assert counts == (2, 0, 1, 2)
    assert report.sol_balance == 2

    write(path, *map(json.loads, path.read_text().splitlines()), swap(7, "token", "1", "native", "1"))
    assert run(fresh_database_url, path).outcomes["sell"] == 2  # what the wallet held was read from the database


@pytest.mark.parametrize(("limit", "tokens"), [("_MAX_TOKENS", 3), ("MANY", 2)])
def test_large_wallet_is_read_token_by_token(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch, limit: str, tokens: int
) -> None:
    monkeypatch.setattr(replay_holdings, limit, tokens)
    monkeypatch.setattr(replay_run, "_EVENTS_PER_TRANSACTION", 5)
    ledger = wallet_oracle.expected(wallet_oracle.read_events(DEMO_HISTORY))
    report = run(fresh_database_url, DEMO_HISTORY)
    assert_reports(report, ledger)
    assert_is_as_expected(fresh_database_url, report.accounts[0], ledger)


def test_sale_before_purchase_of_earlier_run_is_decided_by_database(fresh_database_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "history.jsonl", transfer(1, "2"), swap(9, "native", "1", "token", "9"))
    run(fresh_database_url, path)
    early, late = swap(3, "token", "9", "native", "1"), swap(10, "token", "4", "native", "1")
    write(path, *map(json.loads, path.read_text().splitlines()), early, late)
    report = run(fresh_database_url, path)
    assert (report.outcomes["refused"], report.outcomes["sell"], report.outcomes["take_profit"]) == (1, 0, 1)


# --- Killed, repeated, at once ------------------------------------------------------------------

_REPLAYS = """
import os
import sys
from pathlib import Path
from nexgent_db.replay import replay, run
from nexgent_db.sync.database import Database
url, path, block, agents = sys.argv[1:]
run._EVENTS_PER_TRANSACTION = int(block)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        with Database(url) as db:
            print(os.getpid(), flush=True)
            replay(db, Path(path), agents=int(agents))
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Replays:
    """Runs replays one after another, each in a forked process, because an import takes a second."""

    def __init__(self, url: str, path: Path, block: int, agents: int) -> None:
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _REPLAYS, url, str(path), str(block), str(agents)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def started(self) -> int:
        """The next one's pid, once it is connected."""
        assert self._parent.stdin is not None
        print(file=self._parent.stdin, flush=True)
        return self._line()

    def killed(self, pid: int) -> bool:
        """Kills it; returns whether it was still running."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        status = self._line()
        assert status in (0, -signal.SIGKILL)
        return status != 0

    def _line(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())

    def __enter__(self) -> Replays:
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def transactions(connection: psycopg.Connection[Row]) -> int:
    row = connection.execute("SELECT count(*) FROM agent_transactions").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("agents", [1, 3])
def test_killed_replay_resumes_with_same_result(fresh_database_url: str, agents: int) -> None:
    seed = random.randrange(2**32)
    print(f"{seed=}")
    moments = random.Random(seed)
    kills, done, partly = 0, 0, 0
    with Replays(fresh_database_url, DEMO_HISTORY, 5, agents) as replays, connected(fresh_database_url) as connection:
        while kills < 15:
            process = replays.started()
            until = done + moments.choice([0, 1, 3, 9])
            while alive(process) and transactions(connection) < until:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.01))  # and somewhere in what it does next
            if not replays.killed(process):
                break
            kills += 1
            done = transactions(connection)
            partly += 0 < done < 100
    assert partly, "no run was killed half-way"

    report = run(fresh_database_url, DEMO_HISTORY, agents)
    ledgers = wallet_oracle.expected_of_many(wallet_oracle.read_events(DEMO_HISTORY), 3, lambda mint: share_of(mint, 3))
    if agents == 1:
        ledgers = [wallet_oracle.expected(wallet_oracle.read_events(DEMO_HISTORY))]
        assert_reports(report, ledgers[0])
    for account, ledger in zip(report.accounts, ledgers, strict=True):
        assert_is_as_expected(fresh_database_url, account, ledger)
    assert_checks_hold(fresh_database_url)


def test_overtaken_replay_repeats_no_decision(
    fresh_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.jsonl"
    write(path, transfer(1), transfer(2, "5", kind="transfer_out"), transfer(3, "10"))  # the second is refused
    open_accounts = replay_run._Run._open_accounts

    def be_overtaken(self: replay_run._Run) -> None:
        monkeypatch.undo()
        open_accounts(self)
        run(fresh_database_url, path)

    monkeypatch.setattr(replay_run._Run, "_open_accounts", be_overtaken)
    report = run(fresh_database_url, path)

    assert (report.outcomes["deposit"], report.outcomes["refused"], report.outcomes["withdrawal"]) == (2, 1, 0)
    assert report.sol_balance == 11


def test_concurrent_replays_end_with_same_result(fresh_database_url: str) -> None:
    reports: list[ReplayReport] = []
    threads = [threading.Thread(target=lambda: reports.append(run(fresh_database_url, DEMO_HISTORY))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    ledger = wallet_oracle.expected(wallet_oracle.read_events(DEMO_HISTORY))
    assert len(reports) == 3
    for report in reports:
        assert {outcome: count for outcome, count in report.outcomes.items() if count} == dict(ledger.outcomes)
    assert_is_as_expected(fresh_database_url, reports[0].accounts[0], ledger)
    assert_checks_hold(fresh_database_url)


def test_grown_history_resumes_at_its_end(fresh_database_url: str, tmp_path: Path) -> None:
    lines = DEMO_HISTORY.read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "history.jsonl"
    for end in (1, 40, 41, 97, len(lines)):
        path.write_text("".join(lines[:end]), encoding="utf-8")
        report = run(fresh_database_url, path)
        assert_reports(report, wallet_oracle.expected(wallet_oracle.read_events(path)))
    assert same(report, run(fresh_database_url, DEMO_HISTORY))


# --- Bad input ----------------------------------------------------------------------------------


def transfer(number: int, amount: str = "1", **changes: Any) -> dict[str, Any]:
    return {
        "tx_hash": f"hash{number}",
        "time": "2026-01-01T00:00:00Z",
        "wallet": "a wallet",
        "kind": "transfer_in",
        "mint": "native",
        "symbol": "SOL",
        "amount": amount,
        "amount_usd": "150",
        **changes,
    }


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_bad_lines_are_reported_and_others_replayed(fresh_database_url: str, tmp_path: Path) -> None:
    path = write(
        tmp_path / "history.jsonl",
        transfer(1),
        '{"tx_hash": "trunc\n',
        transfer(2, "NaN"),
        transfer(3, "0"),
        transfer(4, symbol="x" * 300),
        transfer(5, "2.5"),
    )
    reported: list[BadLine] = []
    with Database(fresh_database_url) as db:
        report = replay(db, path, on_bad_line=reported.append)

    assert [line.number for line in reported] == [2, 3, 5]
    assert (report.outcomes["deposit"], report.outcomes["invalid"], report.bad_lines) == (2, 4, 3)
    assert report.sol_balance == Decimal("3.5")
    assert same(run(fresh_database_url, path), report)


def test_event_beyond_column_is_refused_alone(fresh_database_url: str, tmp_path: Path) -> None:
    largest = "99999999999999999999"
    path = write(tmp_path / "history.jsonl", transfer(1), transfer(2, largest), transfer(3), transfer(4))
    report = run(fresh_database_url, path)

    assert (report.outcomes["deposit"], report.outcomes["refused"]) == (3, 1)
    assert report.sol_balance == 3
    assert same(run(fresh_database_url, path), report)


def test_wallet_of_other_owner_is_refused(fresh_database_url: str, tmp_path: Path) -> None:
    with Database(fresh_database_url) as db:
        agent = db.agents.create(db.users.create("someone@example.org").id, "theirs")
        db.wallets.create("a wallet", agent.id, "live")
    with pytest.raises(ReplayError, match=f"belongs to agent {agent.id}"):
        run(fresh_database_url, write(tmp_path / "history.jsonl", transfer(1)))
    assert rows(fresh_database_url, "SELECT count(*) FROM agent_transactions") == [(0,)]
    assert rows(fresh_database_url, "SELECT count(*) FROM agents") == [(1,)]


def test_read_only_database_is_error_and_not_rejection(fresh_database_url: str, tmp_path: Path) -> None:
    run(fresh_database_url, write(tmp_path / "history.jsonl", transfer(1)))
    path = write(tmp_path / "history.jsonl", transfer(1), transfer(2))
    with pytest.raises(DatabaseError, match="read-only"):
        run(f"{fresh_database_url} options='-c default_transaction_read_only=on'", path)
    assert run(fresh_database_url, path).outcomes["deposit"] == 2
