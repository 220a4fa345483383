# ruff: noqa: E501  # a case is a line
"""Broken queries and models, at least one per rule; each report has both places and the database's fact."""

import ast
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import JsonValue

import nexgent_db.contract
from nexgent_db.models.agents import Agent
from nexgent_db.models.base import AwareDatetime, Exact, Percent, Row, TokenNumber, UsdNumber
from nexgent_db.models.wallets import AgentWallet
from tests.contract.support import made_up, prove, prove_one


class Case(NamedTuple):
    rule: str
    at: tuple[int, int]
    sql: str
    parameters: dict[str, Any] | None
    returns: Any
    declared: str
    actual: str


class Holding(Row):
    id: UUID
    balance: TokenNumber


class HoldingInUsd(Row):
    id: UUID
    balance: UsdNumber


class FloatHolding(Row):
    id: UUID
    balance: float


class Account(Row):
    id: UUID
    password_hash: str


class Lenient(Row):
    id: UUID
    email: str | None


class Reason(Row):
    id: UUID
    close_reason: Literal["manual", "stop_loss"] | None


class Mode(Row):
    id: UUID
    trading_mode: Literal["simulation", "live", "paper"]


class Kind(Row):
    id: UUID
    transaction_type: Literal["DEPOSIT", "SWAP"]


class Named(Row):
    id: UUID
    name: Literal["a", "b"]


class Pair(Row):
    agent_id: UUID
    wallet_agent_id: UUID


class Total(Row):
    total: Percent


class WrongType(Row):
    id: UUID
    locked_until: date | None


OPTIONAL = "-- name: q :optional\n"
ONE = "-- name: q :one\n"
MANY = "-- name: q :many\n"
ROWS = "-- name: q :rows\n"
EXEC = "-- name: q :exec\n"
BY_ID = "FROM agents WHERE id = :agent_id;"
AGENT = {"agent_id": UUID}

AGENT_COLUMNS = (
    "a.id, a.user_id, a.name, a.trading_mode, a.trading_config, a.created_at, a.updated_at,"
    " a.automated_trading_simulation, a.automated_trading_live, a.version"
)
WALLET_COLUMNS = "w.wallet_address, w.agent_id, w.wallet_type, w.created_at, w.updated_at"

CASES = [
    # parameters
    Case("parameter type", (2, 36), f"{OPTIONAL}SELECT name FROM agents WHERE id = :agent_id;", {"agent_id": str}, str | None, ":agent_id as str (text or varchar", "uuid"),
    Case("parameter type", (2, 49), f"{OPTIONAL}SELECT id FROM users WHERE lower(email) = lower(:email) LIMIT 1;", {"email": UUID}, UUID | None, ":email as UUID (uuid)", "text"),
    Case("parameter type", (2, 38), f"{ROWS}DELETE FROM users WHERE created_at < :before;", {"before": date}, int, ":before as date (date)", "timestamptz"),
    Case("parameter type", (2, 40), f"{ROWS}DELETE FROM agents WHERE user_id = ANY(:ids);", {"ids": list[str]}, int, ":ids as list[str] (an array of text", "uuid[]"),
    Case("parameter type", (2, 34), f"{ROWS}UPDATE agents SET trading_mode = :mode;", {"mode": bool}, int, ":mode as bool (bool)", "varchar"),
    Case("parameter type", (2, 36), f"{ROWS}UPDATE agents SET trading_config = :document;", {"document": str}, int, ":document as str", "jsonb"),
    Case("parameter type", (2, 43), f"{ROWS}UPDATE users SET failed_login_attempts = (:number);", {"number": Decimal}, int, ":number as Decimal (numeric)", "int4"),
    Case("float", (2, 44), f"{ROWS}DELETE FROM agent_balances WHERE balance < :amount;", {"amount": float}, int, ":amount as float (float4 or float8)", "numeric"),
    Case("float", (2, 48), f"{ROWS}DELETE FROM agent_balances WHERE balance = ANY(:amounts);", {"amounts": list[float]}, int, ":amounts", "numeric"),
    Case("unstable type", (2, 8), f"{ONE}SELECT coalesce(:number, 0) AS number;", {"number": Decimal | None}, Decimal, "one type for number", "int4, or numeric when the parameters are values"),
    Case("values", (2, 44), f"{OPTIONAL}SELECT id FROM agents WHERE trading_mode = :mode LIMIT 1;", {"mode": Literal["simulation", "paper"]}, UUID | None, ":mode as Literal['simulation', 'paper']", "agents.trading_mode holds 'live', 'simulation' only"),
    Case("values", (2, 67), f"{ONE}INSERT INTO agents (user_id, name, trading_mode) VALUES (:u, 'x', :mode) RETURNING id;", {"u": UUID, "mode": Literal["paper"]}, UUID, ":mode", "holds 'live', 'simulation' only"),
    # columns
    Case("columns", (2, 8), f"{OPTIONAL}SELECT id FROM agent_balances WHERE id = :id;", {"id": UUID}, Holding | None, "Holding with 2 fields", "no column balance"),
    Case("columns", (2, 21), f"{OPTIONAL}SELECT id, balance, version FROM agent_balances WHERE id = :id;", {"id": UUID}, Holding | None, "Holding with 2 fields", "no field for version"),
    Case("columns", (2, 8), f"{OPTIONAL}SELECT id, balance, id FROM agent_balances WHERE id = :id;", {"id": UUID}, Holding | None, "Holding with 2 fields", "twice id"),
    Case("columns", (2, 8), f"{OPTIONAL}SELECT id, name {BY_ID}", AGENT, UUID | None, "one column, UUID", "2: id, name"),
    Case("columns", (2, 8), f"{MANY}SELECT a.id, a.name FROM agents AS a ORDER BY a.id LIMIT 2;", {}, list[tuple[Agent, AgentWallet]], "15 columns for Agent, AgentWallet side by side", "2 columns"),
    Case("column type", (2, 12), f"{OPTIONAL}SELECT id, locked_until FROM users WHERE id = :id;", {"id": UUID}, WrongType | None, "WrongType.locked_until: date | None (date)", "timestamptz"),
    Case("column type", (2, 8), f"{OPTIONAL}SELECT name {BY_ID}", AGENT, int | None, "the result: int (int2 or int4 or int8)", "varchar(255)"),
    Case("column type", (2, 8), f"{OPTIONAL}SELECT version {BY_ID}", AGENT, JsonValue | None, "the result: JsonValue", "int8"),
    Case("float", (2, 12), f"{OPTIONAL}SELECT id, balance FROM agent_balances WHERE id = :id;", {"id": UUID}, FloatHolding | None, "FloatHolding.balance: float", "numeric(38,18)"),
    Case("numeric", (2, 12), f"{OPTIONAL}SELECT id, balance FROM agent_balances WHERE id = :id;", {"id": UUID}, HoldingInUsd | None, "HoldingInUsd.balance: Decimal(20,8)", "numeric(38,18)"),
    Case("numeric", (2, 8), f"{ONE}SELECT coalesce(avg(change_percent), 0) AS total FROM agent_historical_swaps;", {}, Total, "Total.total: Decimal(20,4)", "numeric, of unknown decimals"),
    Case("numeric", (2, 8), f"{ONE}SELECT coalesce(sum(balance), 0) AS total FROM agent_balances;", {}, Total, "Total.total: Decimal(20,4)", "numeric, with up to 18 decimals"),
    Case("numeric", (2, 8), f"{ONE}SELECT coalesce(sum(balance * balance), 0) FROM agent_balances;", {}, Annotated[Decimal, Exact(38, 18)], "the result: Decimal(38,18)", "numeric, with up to 36 decimals"),
    Case("values", (2, 12), f"{OPTIONAL}SELECT id, close_reason FROM agent_historical_swaps WHERE id = :id;", {"id": UUID}, Reason | None, "Reason.close_reason: Literal['manual', 'stop_loss'] | None", "also 'stale_trade', 'take_profit'"),
    Case("values", (2, 12), f"{OPTIONAL}SELECT id, trading_mode {BY_ID}", AGENT, Mode | None, "Mode.trading_mode", "never 'paper'"),
    Case("values", (2, 12), f"{OPTIONAL}SELECT id, transaction_type FROM agent_transactions WHERE id = :id;", {"id": UUID}, Kind | None, "Kind.transaction_type", "also 'BURN', 'WITHDRAWAL'"),
    Case("values", (2, 12), f"{OPTIONAL}SELECT id, name {BY_ID}", AGENT, Named | None, "Named.name", "any text: the column has no CHECK"),
    # NULL
    Case("nullability", (2, 12), f"{OPTIONAL}SELECT id, password_hash FROM users WHERE id = :id;", {"id": UUID}, Account | None, "Account.password_hash: str", "password_hash can be NULL: the column has no NOT NULL"),
    Case("nullability", (2, 12), f"{OPTIONAL}SELECT id, email FROM users WHERE id = :id;", {"id": UUID}, Lenient | None, "Lenient.email: str | None", "email is never NULL"),
    Case("nullability", (2, 26), f"{MANY}SELECT a.id AS agent_id, w.agent_id AS wallet_agent_id FROM agents AS a LEFT JOIN agent_wallets AS w ON w.agent_id = a.id WHERE a.id = :agent_id ORDER BY w.wallet_address LIMIT 2;", AGENT, list[Pair], "Pair.wallet_agent_id: UUID", "wallet_agent_id can be NULL: an outer join may find no row"),
    Case("nullability", (2, 8), f"{ONE}SELECT sum(balance) FROM agent_balances;", {}, TokenNumber, "the result: Decimal(38,18)", "sum can be NULL"),
    Case("nullability", (2, 8), f"{ONE}SELECT (SELECT name {BY_ID[:-1]});", AGENT, str, "the result: str", "name can be NULL"),
    Case("nullability", (2, 8), f"{ONE}SELECT :given::text;", {"given": str | None}, str, "the result: str", "text can be NULL"),
    Case("nullability", (2, len(f"SELECT {AGENT_COLUMNS}, ") + 1), f"{MANY}SELECT {AGENT_COLUMNS}, {WALLET_COLUMNS} FROM agents AS a JOIN agent_wallets AS w ON w.agent_id = a.id WHERE a.id = :agent_id ORDER BY w.wallet_address LIMIT 2;", AGENT, list[tuple[Agent, AgentWallet | None]], "AgentWallet | None", "wallet_address, its first column, is never NULL"),
    # rows
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT id FROM agents WHERE user_id = :user_id;", {"user_id": UUID}, UUID | None, ":optional", "any number of rows"),
    Case("cardinality", (1, 12), f"{ONE}SELECT id FROM agents WHERE name = :name;", {"name": str}, UUID, ":one", "no unique key is bound"),
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT a.id FROM agents AS a JOIN agent_wallets AS w ON w.agent_id = a.id WHERE a.id = :agent_id;", AGENT, UUID | None, ":optional", "any number of rows"),
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT id FROM agents WHERE id = gen_random_uuid();", {}, UUID | None, ":optional", "any number of rows"),
    Case("cardinality", (1, 12), f"{OPTIONAL}UPDATE agents SET name = 'x' WHERE user_id = :user_id RETURNING id;", {"user_id": UUID}, UUID | None, ":optional", "any number of rows"),
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT count(*) FROM users;", {}, int | None, ":optional", "always one row"),
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT id FROM agents ORDER BY id LIMIT int8pl(1, 2);", {}, UUID | None, ":optional", "no LIMIT 1"),
    Case("cardinality", (1, 12), f"{OPTIONAL}SELECT id FROM agents ORDER BY id LIMIT :most;", {"most": int}, UUID | None, ":optional", "no LIMIT 1"),
    Case("no rows", (1, 12), f"{OPTIONAL}DELETE FROM users WHERE id = :id;", {"id": UUID}, UUID | None, ":optional", "the statement returns no rows"),
    Case("rows unread", (1, 12), f"{ROWS}DELETE FROM users WHERE id = :id RETURNING id;", {"id": UUID}, int, ":rows", "the statement returns at most one row of 1 columns"),
    Case("rows unread", (1, 12), f"{EXEC}SELECT id FROM users LIMIT 5;", {}, None, ":exec", "the statement returns many rows of 1 columns"),
    Case("order", (1, 12), f"{MANY}SELECT id FROM agents LIMIT 10;", {}, list[UUID], ":many", "no ORDER BY"),
    Case("order", (1, 12), f"{MANY}SELECT id FROM agents ORDER BY created_at DESC LIMIT 10;", {}, list[UUID], ":many", "ORDER BY leaves rows equal"),
    Case("order", (1, 12), f"{MANY}SELECT a.id FROM agents AS a JOIN agent_wallets AS w ON w.agent_id = a.id ORDER BY a.id LIMIT 10;", {}, list[UUID], ":many", "ORDER BY leaves rows equal"),
    Case("order", (1, 12), f"{MANY}DELETE FROM agents WHERE user_id = :user_id RETURNING id; -- check: limit: a user has few", {"user_id": UUID}, list[UUID], ":many", "no ORDER BY"),
    Case("limit", (1, 12), f"{MANY}SELECT id FROM agents ORDER BY id;", {}, list[UUID], ":many", "no LIMIT"),
    Case("limit", (1, 12), f"{MANY}SELECT id FROM agents ORDER BY id LIMIT ALL;", {}, list[UUID], ":many", "no LIMIT"),
    # writing
    Case("missing column", (2, 13), f"{ROWS}INSERT INTO users (password_hash) VALUES ('x');", {}, int, "an INSERT INTO users without email", "users.email is NOT NULL and has no default"),
    Case("missing column", (2, 84), f"{ONE}WITH a AS (INSERT INTO users (email) VALUES ('x') RETURNING id), b AS (INSERT INTO agents (name) VALUES ('x')) SELECT id FROM a;", {}, UUID, "an INSERT INTO agents without user_id", "agents.user_id is NOT NULL"),
    Case("null written", (2, 35), f"{ROWS}INSERT INTO users (email) VALUES (:email);", {"email": str | None}, int, ":email as str | None for users.email", "users.email is NOT NULL"),
    Case("null written", (2, 18), f"{ROWS}UPDATE users SET email = NULL;", {}, int, "NULL for users.email", "users.email is NOT NULL"),
    # the text
    Case("select star", (2, 8), f"{OPTIONAL}SELECT * FROM users WHERE id = :id;", None, None, "all columns, by *", "that a migration may add"),
    Case("select star", (2, 44), f"{OPTIONAL}DELETE FROM users WHERE id = :id RETURNING *;", None, None, "all columns, by *", "that a migration may add"),
    Case("select star", (2, 16), f"{MANY}SELECT a.id, a.* FROM agents AS a ORDER BY a.id LIMIT 3;", None, None, "all columns, by *", "that a migration may add"),
    Case("refused", (2, 16), f"{OPTIONAL}SELECT id FROM nowhere LIMIT 1;", {}, UUID | None, "a statement", 'relation "nowhere" does not exist'),
    Case("refused", (3, 5), f"{OPTIONAL}SELECT\n    nothing\n{BY_ID}", AGENT, UUID | None, "a statement", 'column "nothing" does not exist'),
    Case("refused", (4, 11), f"{MANY}SELECT id FROM agents\nWHERE id = :agent_id -- if given\n  AND 1 = 'x'\nORDER BY id LIMIT 1;", {"agent_id=": UUID | None}, list[UUID], "a statement", "invalid input syntax for type integer"),
    Case("database collation", (2, 29), f"{OPTIONAL}SELECT id FROM agents WHERE lower(name) = :name AND id = :agent_id;", {"name": str, **AGENT}, UUID | None, "a result that is the same in every database", "follow the database's locale"),
    Case("database collation", (2, 8), f"{OPTIONAL}SELECT upper(name) {BY_ID}", AGENT, str | None, "a result that is the same in every database", "follow the database's locale"),
    Case("database collation", (2, 34), f"{OPTIONAL}SELECT id FROM agents WHERE name ILIKE :name AND id = :agent_id;", {"name": str, **AGENT}, UUID | None, "a result that is the same in every database", "follow the database's locale"),
    # comments
    Case("needless override", (2, 1), f"{OPTIONAL}-- check: one: it is one\nSELECT name {BY_ID}", AGENT, str | None, "-- check: one", "that this holds anyway"),
    Case("needless override", (2, 1), f"{OPTIONAL}-- check: not null nothing: I say so\nSELECT name {BY_ID}", AGENT, str | None, "-- check: not null nothing", "or is about no column"),
    Case("unknown override", (2, 1), f"{OPTIONAL}-- check: unique: it is one\nSELECT name {BY_ID}", AGENT, str | None, "-- check: unique: it is one", "no check is called that"),
    Case("unknown override", (2, 1), f"{OPTIONAL}-- check: one\nSELECT name {BY_ID}", AGENT, str | None, "-- check: one", "no check is called that"),
    Case("unknown override", (2, 1), f"{OPTIONAL}-- check: not null: no column is named\nSELECT name {BY_ID}", AGENT, str | None, "-- check: not null", "no check is called that"),
]  # fmt: skip


def assert_leads_to_the_method_or_field(place: str) -> None:
    path, _, line = place.rpartition(":")
    text = Path(path).read_text().splitlines()[int(line) - 1]
    is_method = path == "tests/contract/support.py" and "async def method" in text
    is_field = path == "tests/contract/test_rules.py" and re.match(r"    \w+: ", text)
    assert is_method or is_field, f"{place}: {text}"


def rules_reported() -> set[str]:
    """Every rule that a module of the contract names when it reports a problem of one query."""
    return {
        value.value
        for path in Path(nexgent_db.contract.__file__).parent.glob("*.py")
        if not path.name.startswith(("_function", "_plpgsql"))  # see test_functions
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("report", "problem")
        for value in ast.walk(call.args[0])
        if isinstance(value, ast.Constant) and isinstance(value.value, str)
    }


def test_every_rule_has_query_that_breaks_it() -> None:
    assert len(CASES) >= 40
    assert len(rules_reported()) == 20
    # The rule of collations stands in a constant; the one of the ledger needs a service's query: see test_cli_project.
    assert rules_reported() | {"database collation"} == {case.rule for case in CASES} | {"ledger"}


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{place}-{case.rule.replace(' ', '_')}" for place, case in enumerate(CASES)]
)
def test_broken_query_is_reported_with_both_places(case: Case, database_url: str, tmp_path: Path) -> None:
    problems = prove_one(database_url, tmp_path, case.sql, case.parameters, case.returns)
    found = [problem for problem in problems if problem.rule == case.rule]
    assert found, [str(problem) for problem in problems]
    assert any(case.declared in problem.declared and case.actual in problem.actual for problem in found), [
        str(problem) for problem in found
    ]
    problem = next(each for each in found if case.declared in each.declared and case.actual in each.actual)
    line, column = problem.sql_line, problem.sql_column
    assert (line, column) == case.at
    assert f"{tmp_path / 'things.sql'}:{line}:{column}: things.q" in str(problem)
    assert (problem.python is None) == (case.parameters is None)
    if problem.python is not None:
        assert_leads_to_the_method_or_field(problem.python)
    assert problem.advice
    others = {each.rule for each in problems} - {case.rule}
    assert not others - {"nullability", "parameter type"}, [str(each) for each in problems]


RIGHT = [
    (f"{OPTIONAL}SELECT id, balance FROM agent_balances WHERE id = :id;", {"id": UUID}, Holding | None),
    (f'{OPTIONAL}SELECT id FROM users WHERE lower(normalize(email) COLLATE "C") = lower(normalize(:email) COLLATE "C");', {"email": str}, UUID | None),
    (f"{ONE}SELECT count(*) FROM users;", {}, int),
    (f"{ONE}SELECT coalesce(sum(balance), 0) FROM agent_balances;", {}, TokenNumber),
    (f"{ONE}SELECT avg(balance)::numeric(38, 18) FROM agent_balances; -- check: not null avg: there is always one", {}, TokenNumber),
    (f"{ONE}SELECT (round(coalesce(avg(change_percent), 0), 4)) AS total FROM agent_historical_swaps;", {}, Total),
    (f"{OPTIONAL}-- check: one: names happen to be unique\nSELECT id FROM agents WHERE name = :name;", {"name": str}, UUID | None),
    (f"{MANY}SELECT id FROM agents\nWHERE user_id = :user_id -- if given\nORDER BY created_at, id LIMIT :limit;", {"limit": int, "user_id=": UUID | None}, list[UUID]),
    (f"{ONE}INSERT INTO users (email) VALUES (:email) RETURNING id;", {"email": str}, UUID),
    (f"{OPTIONAL}INSERT INTO users (id, email) VALUES (:id, :email) ON CONFLICT DO NOTHING RETURNING created_at;", {"id": UUID, "email": str}, AwareDatetime | None),
    (f"{OPTIONAL}DELETE FROM agents WHERE id = :agent_id RETURNING created_at;", AGENT, datetime | None),
    (f"{MANY}SELECT {AGENT_COLUMNS}, {WALLET_COLUMNS} FROM agents AS a LEFT JOIN agent_wallets AS w ON w.agent_id = a.id WHERE a.id = :agent_id ORDER BY w.wallet_address LIMIT 2;", AGENT, list[tuple[Agent, AgentWallet | None]]),
    (f"{EXEC}SELECT id FROM agents WHERE id = :agent_id FOR UPDATE;", AGENT, None),
    (f"{EXEC}SELECT pg_advisory_xact_lock(:number);", {"number": int}, None),
    (f"{MANY}SELECT user_id, count(*) FROM agents GROUP BY user_id ORDER BY user_id LIMIT 9;", None, None),
    (f"{MANY}SELECT DISTINCT user_id FROM agents ORDER BY user_id LIMIT 9;", {}, list[UUID]),
    (f"{ONE}SELECT sol_mint();", {}, str),
    (f"{OPTIONAL}SELECT id FROM agents ORDER BY id LIMIT 1::int2;", {}, UUID | None),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "parameters", "returns"), RIGHT, ids=range(len(RIGHT)))
def test_correct_query_is_accepted(
    sql: str, parameters: dict[str, Any] | None, returns: Any, database_url: str, tmp_path: Path
) -> None:
    assert [str(problem) for problem in prove_one(database_url, tmp_path, sql, parameters, returns)] == []


def test_optional_field_is_accepted_when_one_query_needs_it(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    sure = made_up(tmp_path, f"{OPTIONAL}SELECT id, email FROM users WHERE id = :id;", {"id": UUID}, Lenient | None)
    unsure = made_up(
        tmp_path / "other",
        f"{OPTIONAL}SELECT id, password_hash AS email FROM users WHERE id = :id;",
        {"id": UUID},
        Lenient | None,
    )
    assert len(prove(database_url, sure).problems) == 1
    assert prove(database_url, sure, unsure).problems == ()


def test_problem_of_many_variants_is_reported_once(database_url: str, tmp_path: Path) -> None:
    sql = f"{MANY}SELECT id FROM agents\nWHERE user_id = :user_id -- if given\nLIMIT 1000;"
    (problem,) = prove_one(database_url, tmp_path, sql, {"user_id=": UUID | None}, list[UUID])
    assert (problem.rule, problem.variants) == ("order", 2)
    assert problem.as_json()["variants"] == 2


def test_check_changes_no_database_object(database_url: str, tmp_path: Path) -> None:
    import psycopg

    from nexgent_db.contract import check

    with psycopg.connect(database_url, autocommit=True) as connection:
        check(connection, [made_up(tmp_path, f"{ONE}SELECT 1;", {}, int)])
        assert connection.execute("SELECT count(*) FROM pg_proc WHERE proname = 'checked'").fetchone() == (0,)
