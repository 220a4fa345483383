"""``nexgent-db queries``: output and refusals of each command; none changes data."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli.app import app
from nexgent_db.cli.statistics import _Names
from nexgent_db.contract import all_sources
from nexgent_db.embedded import EmbeddedServerError, postgres
from nexgent_db.errors import ConfigurationError, InvalidInput, NexgentError, SchemaNotReady
from nexgent_db.migrations import Migrator
from nexgent_db.models.filters import TransactionFilter
from nexgent_db.settings import Settings
from tests.integration.test_cli import failure, nexgent_db, success
from tests.support.builders.service import write_service

RUN = CliRunner()
AGENT = "8191f1cd-57d3-4c9e-96be-37f2aa0d232b"
SOURCES = {source.query.qualified_name: source for source in all_sources(Repository)}


def shown(*arguments: str, url: str | None = None) -> str:
    done = RUN.invoke(app, ["queries", *arguments], env={"DATABASE_URL": url, "COLUMNS": "40"})
    assert done.exit_code == 0, done.exception
    return done.stdout


def as_json(*arguments: str, url: str | None = None) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(shown(*arguments, "--json", url=url))
    return document


def refused(kind: type[NexgentError], *arguments: str, url: str | None = None) -> str:
    done = RUN.invoke(app, ["queries", *arguments], env={"DATABASE_URL": url})
    assert isinstance(done.exception, kind), (done.exception, done.output)
    assert done.output == ""
    return str(done.exception)


# --- list and show ------------------------------------------------------------------------------


def test_every_query_is_listed_on_one_line_with_its_place() -> None:
    lines = shown("list").splitlines()
    assert [line.split()[0] for line in lines] == list(SOURCES)
    for line, source in zip(lines, SOURCES.values(), strict=True):
        assert f" :{source.query.cardinality} " in line
        found = re.search(r"(\S+/positions\.sql):(\d+) ", line)
        if found:
            assert Path(found[1]).read_text().splitlines()[int(found[2]) - 1].startswith("-- name: ")
    (line,) = [line for line in lines if line.startswith("positions.find_by_id ")]
    assert line.endswith("The open position of this id; no row comes back once it is closed.")


def test_queries_list_has_json() -> None:
    queries = as_json("list")["queries"]
    assert [query["name"] for query in queries] == list(SOURCES)
    assert queries[0].keys() == {"name", "cardinality", "sql", "promise"}
    assert not [query for query in queries if "check:" in query["promise"]]


def test_list_and_show_need_no_database() -> None:
    unreachable = "postgresql://nobody@127.0.0.1:1/none"
    assert "positions.find_by_id" in success("queries", "list", DATABASE_URL=unreachable)
    assert "RETURNING" in success("queries", "show", "agents.update", DATABASE_URL=unreachable)


def test_show_prints_signature_tables_and_text() -> None:
    text = shown("show", "positions.list_by_agent")
    for expected in (
        "AND wallet_address = :wallet_address -- if given",
        "may be left out",
        "numeric(38,18)",
        "reads   agent_positions",
        "writes  none",
        "agent_positions_agent_id_wallet_address_token_address_key",
        "nexgent_db/aio/repositories/positions.py:",
        "PositionRepository.list_by_agent(",
    ):
        assert expected in text
    query = as_json("show", "transactions.list_by_agent")
    assert query["text"].startswith("-- name: list_by_agent :many\n")
    assert query["text"].endswith("LIMIT :limit;")
    by_name = {each["name"]: each for each in query["parameters"]}
    assert by_name["time_from"] == {
        "name": "time_from",
        "type": "timestamptz",
        "nullable": False,
        "may_be_left_out": True,
        "argument": "filter.time_from",
    }
    assert {"name": "routes", "type": "jsonb", "nullable": True} in query["columns"]
    place, _, line = query["python"]["place"].rpartition(":")
    assert "@query" in Path(place).read_text().splitlines()[int(line) - 1]
    assert query["writes"] == []
    assert "agent_balances" in as_json("show", "trades.buy")["writes"]


def test_query_without_method_is_reported() -> None:
    assert as_json("show", "checks.positions_have_something_left")["python"] is None
    assert "no method calls it" in shown("show", "checks.positions_have_something_left")


def test_every_query_can_be_shown() -> None:
    for name in SOURCES:
        query = as_json("show", name)
        assert query["text"].count(";") >= 1
        of_the_server = name.startswith("doctor.") or name == "cache.identity"
        assert query["reads"] or query["writes"] or of_the_server
        assert all(each["type"] for each in query["parameters"])


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("trades.by", "there is trades.buy"),
        ("find_by_email", "users.find_by_email"),
        ("position.find_by_id", "positions.find_by_id"),
        ("", "nexgent-db queries list has them all"),
        ("'; DROP TABLE users", "nexgent-db queries list has them all"),
    ],
)
def test_unknown_name_is_reported_with_nearest(name: str, near: str) -> None:
    for command in ("show", "explain"):
        said = refused(InvalidInput, command, name)
        assert f"no query is called {name!r}" in said
        assert near in said


def test_unknown_name_is_one_line() -> None:
    assert failure("queries", "show", "trades.by").endswith("there is trades.buy, trades.dca_buy, trades.sell")


# --- explain ------------------------------------------------------------------------------------


def test_every_query_has_generic_plan(database_url: str) -> None:
    for name in SOURCES:
        assert as_json("explain", name, url=database_url)["plan"].keys() == {"Plan"}


def test_generic_plan_is_shown_as_tree(database_url: str) -> None:
    text = shown("explain", "users.find_by_id", url=database_url)
    assert "the plan for any values" in text
    text = shown("explain", "positions.list_by_agent", url=database_url)
    assert "Limit  (cost " in text
    assert "\n└── " in text
    assert "Sort Key: created_at DESC, id DESC" in text


def conditions(plan: dict[str, Any]) -> str:
    """All conditions of a plan."""
    own = [str(text) for label, text in plan.items() if label.endswith(("Cond", "Filter"))]
    return " ".join([*own, *map(conditions, plan.get("Plans", ()))])


def test_given_parameters_select_optional_lines(database_url: str) -> None:
    bare = as_json("explain", "positions.list_by_agent", url=database_url)["plan"]["Plan"]
    assert "wallet_address" not in conditions(bare)
    any_wallet = as_json("explain", "positions.list_by_agent", "-p", "wallet_address", url=database_url)["plan"]["Plan"]
    assert "wallet_address)::text = $2" in conditions(any_wallet)
    values = ("--param", f"agent_id={AGENT}", "--param", "wallet_address=o'brien=\\")
    one = as_json("explain", "positions.list_by_agent", *values, url=database_url)["plan"]["Plan"]
    assert "= 'o''brien=\\'::text" in conditions(one)
    assert AGENT in conditions(one)
    without = as_json("explain", "positions.list_by_agent", "-p", f"agent_id={AGENT}", url=database_url)["plan"]["Plan"]
    assert "wallet_address" not in conditions(without)


def test_explain_uses_defaults_of_method(database_url: str) -> None:
    plan = as_json("explain", "positions.list_by_agent", "-p", f"agent_id={AGENT}", "--analyze", url=database_url)
    assert plan["plan"]["Execution Time"] > 0
    lists = as_json("explain", "trade_requests.list_by_ids", "-p", f"trade_ids={{{AGENT}}}", url=database_url)
    assert AGENT in conditions(lists["plan"]["Plan"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-p", "agent_id=x"), 'agent_id: uuid expected: invalid input syntax for type uuid: "x"'),
        (("-p", "agent=x"), "agent: no such parameter; there is agent_id=uuid, wallet_address=text, "),
        (("-p", "=x"), ": no such parameter; there is agent_id=uuid, wallet_address=text, "),
        (("-p", f"agent_id={AGENT}", "-p", "agent_id"), "agent_id: is given twice"),
        (("-p", "wallet_address=w"), "--param: a plan for some values needs all: give agent_id=uuid"),
        (("--analyze",), "--param: --analyze executes the query: give agent_id=uuid"),
        (("-p", f"agent_id={AGENT}", "-p", "limit=many"), "limit: int8 expected: "),
        (("-p", f"agent_id={AGENT}", "-p", "limit=9223372036854775808"), "limit: int8 expected: "),
        (("-p", f"agent_id={AGENT}", "-p", "time_from=tomorow"), "time_from: timestamptz expected: "),
        (("-p", f"agent_id={AGENT}", "-p", "transaction_type=GIFT"), "transaction_type: 'GIFT' is none of 'BURN', "),
        (("-p", f"agent_id={AGENT}", "-p", "before_time=now"), "before_time: its line is left out without before_id="),
    ],
)
def test_bad_parameter_is_reported_with_expected_type(
    database_url: str, arguments: tuple[str, ...], message: str
) -> None:
    assert refused(InvalidInput, "explain", "transactions.list_by_agent", *arguments, url=database_url).startswith(
        message
    )


def test_nul_and_lone_surrogate_are_reported(database_url: str) -> None:
    assert "email" in refused(InvalidInput, "explain", "users.find_by_email", "-p", "email=\udcff", url=database_url)
    assert "email" in refused(InvalidInput, "explain", "users.find_by_email", "-p", "email=\0", url=database_url)


def test_analyze_shows_rows_read_and_changes_nothing(fresh_database_url: str) -> None:
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, email) VALUES (%s, 'a@example.com')", [AGENT])
        text = shown("explain", "users.find_by_email", "-p", "email=A@example.com", "--analyze", url=fresh_database_url)
        assert "executed with these values, read only" in text
        assert re.search(r"took [\d.]+ ms, rows 1\b", text)
        assert "Execution Time: " in text
        for name, *values in (
            ("users.delete", f"user_id={AGENT}"),
            ("users.record_failed_login", f"user_id={AGENT}"),
            ("agents.lock_config", f"agent_id={AGENT}"),
            ("users.create", "email=b@example.com"),
        ):
            parameters = [word for value in values for word in ("-p", value)]
            said = refused(InvalidInput, "explain", name, *parameters, "--analyze", url=fresh_database_url)
            assert said == f"--analyze: {name} writes or locks, and would be executed: without it, nothing is"
            assert "Plan" in as_json("explain", name, *parameters, url=fresh_database_url)["plan"]
        rows = connection.execute("SELECT id, email, failed_login_attempts FROM users").fetchall()
    assert rows == [(UUID(AGENT), "a@example.com", 0)]


def test_explain_migrates_embedded_database_only(empty_database: str, tmp_path: Path) -> None:
    said = refused(SchemaNotReady, "explain", "users.find_by_id", url=empty_database)
    assert "users.find_by_id" in said
    assert "migrate" in said
    assert Migrator(empty_database).status()[0].applied_at is None


def test_unreachable_database_is_one_line() -> None:
    for command in (("explain", "users.find_by_id"), ("stats",)):
        line = failure("queries", *command, DATABASE_URL="postgresql://me:secret@127.0.0.1:1/none")
        assert "secret" not in line
        assert "127.0.0.1" in line


def test_help_names_commands() -> None:
    assert nexgent_db("queries").returncode == 2
    for command in ("list", "show", "explain", "stats"):
        assert f" {command} " in success("queries", "--help")


# --- stats --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def counting_server(server_url: str) -> Iterator[str]:
    """A server with pg_stat_statements: the tests' own if it has this, else an embedded one, restarted with it."""
    with psycopg.connect(server_url) as connection:
        row = connection.execute("SHOW shared_preload_libraries").fetchone()
    if row and "pg_stat_statements" in row[0]:
        yield server_url
        return
    root = Path(tempfile.mkdtemp(prefix="nexgent-stats-"))
    root.chmod(0o711)  # reachable for nobody, when root runs this
    try:
        with postgres(root, durable=False) as url, psycopg.connect(url, autocommit=True) as connection:
            library = "SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
            if connection.execute(library).fetchone() is None:
                pytest.skip("this PostgreSQL comes without pg_stat_statements")
            connection.execute("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")
        with postgres(root, durable=False) as url:
            yield url
    except EmbeddedServerError as error:
        pytest.skip(f"no server to start with pg_stat_statements: {error}")
    finally:
        shutil.rmtree(root)


@pytest.fixture
def counting_url(counting_server: str) -> Iterator[str]:
    """A migrated database on that server, the extension not yet in it."""
    name = f"nexgent_stats_{os.getpid()}"
    with psycopg.connect(counting_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        url = make_conninfo(counting_server, dbname=name)
        try:
            Migrator(url).migrate()
            yield url
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def counting(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the database, whose statements are counted from now on."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA monitoring")
        connection.execute("CREATE EXTENSION pg_stat_statements SCHEMA monitoring")
        connection.execute("SELECT monitoring.pg_stat_statements_reset()")
        yield connection


def test_loaded_extension_without_create_is_reported(counting_url: str) -> None:
    said = refused(ConfigurationError, "stats", url=counting_url)
    assert said == "pg_stat_statements is not installed here: in this database CREATE EXTENSION pg_stat_statements"


def test_missing_extension_is_reported_with_advice() -> None:
    with postgres() as url:
        said = refused(ConfigurationError, "stats", url=url)
    assert "shared_preload_libraries = 'pg_stat_statements'" in said
    assert "restart" in said
    assert said.endswith("in this database CREATE EXTENSION pg_stat_statements")


def test_calls_are_counted_by_name(counting_url: str) -> None:
    with counting(counting_url) as connection:
        with Database(Settings.from_url(counting_url)) as db:
            user = db.users.create("a@example.com")
            for _ in range(5):
                assert db.users.find_by_id(user.id)
            agent = uuid4()
            db.transactions.list_by_agent(agent)
            db.transactions.list_by_agent(agent, TransactionFilter(is_dca=True))
            list(db.transactions.stream_by_agent(agent))
        with connection.transaction():
            connection.execute("DECLARE old CURSOR FOR -- name: users.of_old :stream\nSELECT 'gone'")
        connection.execute("EXPLAIN -- name: users.find_by_email :optional\nSELECT 1")
        connection.execute("SELECT 'not -- name: users.find_by_email :optional\n'")

    counted = as_json("stats", url=counting_url)
    calls = {each["name"]: each["calls"] for each in counted["queries"]}
    assert calls == {
        "users.create": 1,
        "users.find_by_id": 5,
        "transactions.list_by_agent": 2,
        "transactions.stream_by_agent": 1,
    }
    (found,) = [each for each in counted["queries"] if each["name"] == "users.find_by_id"]
    assert found["rows"] == 5
    assert found["total_ms"] == pytest.approx(5 * found["mean_ms"])
    assert 0 < found["cache_hit"] <= 1
    assert counted["of_another_release"] == ["users.of_old"]
    assert set(counted["never_ran"]) == SOURCES.keys() - calls.keys()
    assert counted["since"].startswith("20")

    text = shown("stats", url=counting_url)
    assert re.search(r"│ users.find_by_id +│ +5 │", text)
    assert f"never ran ({len(SOURCES) - 4}): " in text
    assert "of another release (1): users.of_old" in text


def test_own_queries_are_counted_by_name(counting_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = write_service(tmp_path / "service", flavour="sync")
    monkeypatch.chdir(service.root)
    monkeypatch.syspath_prepend(service.root)
    Migrator(counting_url, migrations={service.name: service.migrations}).migrate()
    alerts = importlib.import_module(f"{service.name}.alerts").Alerts
    with counting(counting_url), Database(Settings.from_url(counting_url)) as db:
        agent = db.agents.create(db.users.create("a@example.com").id, "agent")
        for price in range(1, 4):
            db.use(alerts).create(agent.id, Decimal(price))
        assert len(db.use(alerts).list_by_agent(agent.id)) == 3
    counted = as_json("stats", url=counting_url)
    own = {each["name"]: (each["calls"], each["rows"]) for each in counted["queries"] if service.name in each["name"]}
    assert own == {f"{service.name}.create": (3, 3), f"{service.name}.list_by_agent": (1, 3)}
    assert counted["of_another_release"] == []
    assert not [name for name in counted["never_ran"] if service.name in name]


def test_every_statement_is_recognised_by_its_text() -> None:
    names = _Names(source.query for source in SOURCES.values())
    for name, source in SOURCES.items():
        for statement in source.variants():
            bare = statement.text.partition("\n")[2].lstrip()
            assert names.of(statement.text) == names.of(bare) == name
            assert names.of(re.sub(r"'[^'\n]*'|-?\$?\b[0-9]+\b|\bNULL\b|\btrue\b", "$99", bare)) == name
            assert names.of(f"{bare} FOR SHARE") is None
            assert names.of(bare.replace("\n", " ")) in (None, name)
    assert names.of("") is None


def test_every_executed_query_is_counted_by_name(counting_url: str) -> None:
    with counting(counting_url) as connection:
        ran = set()
        for name, source in SOURCES.items():
            for statement in source.variants():
                cursor = psycopg.RawCursor(connection)
                try:
                    cursor.execute(statement.text, [None] * len(statement.parameters))
                except psycopg.Error:
                    continue  # counted only when it succeeds
                ran.add(name)
    assert len(ran) > len(SOURCES) * 3 / 4
    assert {each["name"] for each in as_json("stats", url=counting_url)["queries"]} == ran


def test_hidden_statements_are_counted(counting_url: str) -> None:
    role = f"onlooker_{os.getpid()}"
    with counting(counting_url) as connection:
        connection.execute("GRANT USAGE ON SCHEMA monitoring TO PUBLIC")
        connection.execute(f"CREATE ROLE {role} LOGIN")
        try:
            connection.execute("SELECT 'something'")
            onlooker = make_conninfo(counting_url, user=role)
            counted = as_json("stats", url=onlooker)
            assert counted["hidden_statements"] > 0
            assert counted["queries"] == []
            assert "GRANT pg_read_all_stats" in shown("stats", url=onlooker)
        finally:
            connection.execute(f"DROP ROLE {role}")
