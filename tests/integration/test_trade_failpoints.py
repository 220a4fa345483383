"""The backend is ended at every statement of every function that trades call, and the same order is sent again.

Whatever the place: nothing partial is left, the second sending does what an undisturbed one does, exactly once, and the
third one gets its result. The functions and their statements come from the catalog: tests/support/faults/failpoints.py.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db import Database, errors
from nexgent_db.contract._plpgsql import read_body
from nexgent_db.models import RecordedPrices, ResetResult, TradeResult
from nexgent_db.queries.lexer import lexemes
from nexgent_db.resources import data_dir
from nexgent_db.testing.databases import Databases
from tests.integration.sync.factories import Owner
from tests.support.builders.trade_ways import KINDS, WAYS, Make, Sql, Way
from tests.support.faults import failpoints
from tests.support.faults.failpoints import Failpoint, Function
from tests.support.oracles.state import broken_rules
from tests.support.servers.postgres_server import postgres_server

_WRITTEN: Final = re.compile(r"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)", re.IGNORECASE)
_OWN_TABLES: Final = """
SELECT c.table_name FROM information_schema.columns AS c
JOIN information_schema.tables AS t USING (table_schema, table_name)
WHERE c.table_schema = current_schema() AND c.column_name = 'agent_id' AND t.table_type = 'BASE TABLE'
ORDER BY 1
"""

State = dict[str, list[dict[str, Any]]]


# --- The kills --------------------------------------------------------------------------------------


@dataclass
class Arena:
    """The database with failpoints: two open connections to it, and what was found out about it."""

    url: str
    db: Database
    sql: Sql
    functions: dict[str, Function]
    of_trades: set[str]
    tables: list[str]
    points: list[Failpoint]

    def state_of(self, owner: Owner) -> State:
        """Every row of the agent, in every table that has an agent."""
        parts = ", ".join(
            f"'{table}', (SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY to_jsonb(t)), '[]')"
            f" FROM {table} AS t WHERE t.agent_id = %(agent_id)s)"
            for table in self.tables
        )
        row = self.sql.execute(f"SELECT jsonb_build_object({parts})".encode(), {"agent_id": owner.agent_id}).fetchone()
        assert row is not None
        return dict(row[0])


def sent(one: Way) -> list[object]:
    """A result, or the name of an error, for each order."""
    try:
        result = one.send()
    except errors.ConnectionLost:
        raise
    except errors.NexgentError as error:
        return [type(error).__name__]
    return [
        type(each).__name__ if isinstance(each, Exception) else each
        for each in (result if isinstance(result, list) else [result])
    ]


def kinds(outcome: list[object]) -> list[str]:
    """What happened to each order."""
    return [str(each) if isinstance(each, str) else type(each).__name__ for each in outcome]


def repeated(outcome: list[object]) -> list[object]:
    """The outcome as a repetition gives it: recorded prices change nothing then."""
    return [
        each.model_copy(update={"duplicate": True})
        if isinstance(each, TradeResult | ResetResult)
        else (RecordedPrices() if isinstance(each, RecordedPrices) else each)
        for each in outcome
    ]


def summary(state: State) -> dict[str, Any]:
    """What is the same for two wallets with the same orders: the amounts, and how many rows each table has."""
    return {
        **{table: len(rows) for table, rows in state.items()},
        "balances": sorted((row["token_address"], str(row["balance"])) for row in state["agent_balances"]),
        "positions": sorted(
            (row["token_address"], str(row["remaining_amount"]), str(row["total_invested_sol"]))
            for row in state["agent_positions"]
        ),
        "profits": sorted(str(row["profit_loss_sol"]) for row in state["agent_historical_swaps"]),
    }


def kill_and_repeat(arena: Arena, make: Make, point: Failpoint, visit: int, expected: tuple[list[str], Any]) -> None:
    """End the backend at the failpoint, send again twice, and compare with ``expected``: outcome and summary."""
    one = make(arena.db, arena.sql)
    before = arena.state_of(one.owner)
    failpoints.arm(arena.sql, point.number, visit)
    try:
        with pytest.raises(errors.ConnectionLost):
            one.send()
    finally:
        failpoints.disarm(arena.sql)
    assert arena.state_of(one.owner) == before, "something partial was left"
    outcome = sent(one)
    after = arena.state_of(one.owner)
    assert (kinds(outcome), summary(after)) == expected
    assert sent(one) == repeated(outcome), "the repetition has another result"
    assert arena.state_of(one.owner) == after, "the repetition changed something"


@pytest.fixture(scope="module")
def arena(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[Arena]:
    with (
        nexgent_databases.copy(nexgent_template_url) as url,
        psycopg.connect(url, autocommit=True) as sql,
        Database(url) as db,
    ):
        functions = failpoints.functions_of(sql)
        calls = (data_dir("sql") / "trades.sql").read_text(encoding="utf-8")
        of_trades = failpoints.reachable_from([calls], functions)
        tables = [name for (name,) in sql.execute(_OWN_TABLES).fetchall()]
        written = {name for each in of_trades for name in _WRITTEN.findall(functions[each].definition)}
        points = failpoints.install(sql, sorted(written & set(tables)))
        yield Arena(url, db, sql, functions, of_trades, tables, points)


@dataclass(frozen=True)
class Undisturbed:
    """A way that was gone without a kill: how often it visited each failpoint, and what came of it."""

    name: str
    make: Make
    visits: dict[int, int]
    expected: tuple[list[str], Any]


def undisturbed(arena: Arena, name: str, make: Make) -> Undisturbed:
    one = make(arena.db, arena.sql)
    failpoints.take_visits(arena.sql)
    failpoints.count_visits(arena.sql)
    outcome = sent(one)
    failpoints.disarm(arena.sql)
    return Undisturbed(
        name, make, failpoints.take_visits(arena.sql), (kinds(outcome), summary(arena.state_of(one.owner)))
    )


def kills(arena: Arena, ways: list[Undisturbed]) -> Iterator[tuple[Undisturbed, Failpoint, int]]:
    """Each reached failpoint once, at the last of its visits; the ways to a failpoint take turns.

    With TESTS_EVERY_FAILPOINT (`make failpoints`) every visit of every failpoint on every way.
    """
    for point in arena.points:
        reaching = [one for one in ways if point.number in one.visits]
        if "TESTS_EVERY_FAILPOINT" in os.environ:
            for one in reaching:
                yield from ((one, point, visit) for visit in range(1, one.visits[point.number] + 1))
        elif reaching:
            one = reaching[point.number % len(reaching)]
            yield one, point, one.visits[point.number]


def test_order_killed_at_any_statement_happens_once_when_sent_again(arena: Arena) -> None:
    ways = [undisturbed(arena, name, make) for name, make in WAYS.items()]
    done = 0
    for one, point, visit in kills(arena, ways):
        try:
            kill_and_repeat(arena, one.make, point, visit, one.expected)
        except BaseException as error:
            error.add_note(f"{one.name}, killed at visit {visit} of {point}")
            raise
        done += 1
    reached = {number for one in ways for number in one.visits}
    print(f"{done:,} kills at {len(reached)} failpoints of {len(arena.points)}, in {len(ways)} ways")
    assert [point for point in arena.points if point.function in arena.of_trades and point.number not in reached] == []
    assert broken_rules(arena.url) == {}


def test_every_statement_of_every_function_of_trades_has_a_failpoint(arena: Arena) -> None:
    """Counted by the semicolons: one ends each statement and each declaration."""
    assert {"trade_buy_v1", "begin_trade_v1", "transaction_taken_v1", "record_prices_v1"} <= arena.of_trades
    called = {name for name in arena.functions if name.startswith(("trade_", "record_prices_", "lock_wallets_"))}
    assert called <= arena.of_trades
    for name in arena.of_trades:
        function = arena.functions[name]
        if function.language == "sql":
            assert not _WRITTEN.search(function.definition), f"{name} is no expression: give its statements failpoints"
            continue
        ends = [lexeme for lexeme in lexemes(function.body) if lexeme.text == ";"]
        declared = len(read_body(function.body).declarations)
        points = [point for point in arena.points if point.function == name and not point.place.endswith("(the end)")]
        assert len(points) == len(ends) - declared > 0, name


def test_failpoint_that_is_not_armed_lets_the_order_pass(arena: Arena) -> None:
    one = WAYS["buy"](arena.db, arena.sql)
    assert kinds(sent(one)) == ["TradeResult"]


def test_order_killed_while_its_commit_is_confirmed_returns_its_first_result() -> None:
    """A backend that waits for a standby has committed: it is ended there, and its client learns nothing."""
    with postgres_server() as server:
        server.configure(synchronous_standby_names="nobody")
        local = make_conninfo(server.url, options="-c synchronous_commit=local")
        with (
            psycopg.connect(local, autocommit=True) as sql,
            Database(local) as db,
            Database(make_conninfo(server.url, options="-c synchronous_commit=on")) as waiting,
        ):
            for name in (*KINDS, "execute_many"):
                one = WAYS[name](db, sql)
                with ended_in_commit(sql), pytest.raises(errors.ConnectionLost):
                    one.send(waiting)
                outcome = sent(one)
                assert outcome == repeated(outcome), name
                assert set(kinds(outcome)) <= {"TradeResult", "ResetResult", "InsufficientBalance"}, name
        assert broken_rules(server.url) == {}


@contextmanager
def ended_in_commit(sql: Sql) -> Iterator[None]:
    """End the first backend that waits for a standby."""
    ended = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    def end() -> None:
        deadline = time.monotonic() + 30
        while sql.execute(ended).fetchone() is None and time.monotonic() < deadline:
            time.sleep(0.005)

    thread = threading.Thread(target=end)
    thread.start()
    try:
        yield
    finally:
        thread.join()
