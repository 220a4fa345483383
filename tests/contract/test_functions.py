"""Functions that are broken on purpose, at least one per rule; each report has the rule and the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from typer.testing import CliRunner

from nexgent_db.cli.app import app
from nexgent_db.contract import FunctionReport, Problem, check_functions
from nexgent_db.contract._function_places import Places

RUN = CliRunner()
HEAD = "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$"
TRIGGER = "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$"
ON_AGENTS = "CREATE TRIGGER {name} BEFORE INSERT ON agents FOR EACH ROW EXECUTE FUNCTION {name}()"


class Case(NamedTuple):
    """A function with one fault, in the line that ends in ``--!``, or in its head when no line does."""

    rule: str
    actual: str
    sql: str
    then: str = ""


def body(statements: str, declare: str = "", *, head: str = HEAD) -> str:
    """A function with these declarations and statements."""
    declared = f"DECLARE\n{declare}\n" if declare else ""
    return f"{head}\n{declared}BEGIN\n{statements}\nEND\n$$"


BROKEN = {
    "missing_column": Case(
        "refused",
        "column a.nope does not exist",
        body(
            "SELECT a.id\nINTO found_id\nFROM agents AS a\nWHERE a.nope = 1; --!\nRAISE NOTICE '%', found_id;",
            "found_id uuid;",
        ),
    ),
    "missing_table": Case("refused", 'relation "agent" does not exist', body("DELETE FROM agent; --!")),
    "missing_insert_column": Case(
        "refused", 'column "nope" of relation "agents"', body("INSERT INTO agents (\n    nope --!\n) VALUES (1);")
    ),
    "ambiguous_name": Case(
        "refused",
        'column reference "balance" is ambiguous',
        body(
            "SELECT\nmax(balance) --!\nINTO balance FROM agent_balances;\nRAISE NOTICE '%', balance;",
            "balance numeric;",
        ),
    ),
    "missing_function": Case(
        "refused", "function nope(integer) does not exist", body("n := 1;\nn := nope(n); --!", "n integer;")
    ),
    "wrong_argument": Case(
        "refused", "function ratio(text", body("RAISE NOTICE '%', ratio(word, 1, 2); --!", "word text := 'a';")
    ),
    "missing_field": Case(
        "refused",
        'record "agent" has no field "nope"',
        body("SELECT a.* INTO agent FROM agents AS a;\nIF agent.nope THEN --!\nRETURN;\nEND IF;", "agent agents;"),
    ),
    "missing_field_of_new": Case(
        "refused",
        'record "new" has no field "nope"',
        body("IF NEW.nope IS NULL THEN --!\nRETURN NULL;\nEND IF;\nRETURN NEW;", head=TRIGGER),
        ON_AGENTS,
    ),
    "new_of_a_statement": Case(
        "refused",
        'missing FROM-clause entry for table "new"',
        body("RETURN NEW.id; --!", head=TRIGGER),
        "CREATE TRIGGER {name} BEFORE INSERT ON agents FOR EACH STATEMENT EXECUTE FUNCTION {name}()",
    ),
    "missing_field_of_row": Case(
        "refused",
        'record "one" has no field "nope"',
        body("FOR one IN SELECT a.id FROM agents AS a LOOP\nRAISE NOTICE '%', one.nope; --!\nEND LOOP;", "one record;"),
    ),
    "broken_loop_query": Case(
        "refused",
        "column a.nope does not exist",
        body(
            "FOR one IN SELECT\na.nope --!\nFROM agents AS a LOOP\nRAISE NOTICE '%', one.nope;\nEND LOOP;",
            "one record;",
        ),
    ),
    "broken_perform": Case(
        "refused", "column a.nope does not exist", body("PERFORM FROM agents AS a\nWHERE a.nope; --!")
    ),
    "broken_raise": Case("refused", 'column "nope" does not exist', body("RAISE EXCEPTION '%', nope; --!")),
    "broken_option": Case(
        "refused", 'column "nope" does not exist', body("RAISE EXCEPTION 'no'\nUSING HINT = 'a', DETAIL = nope; --!")
    ),
    "broken_default": Case(
        "refused", 'column "nope" does not exist', body("RAISE NOTICE '%', n;", "n integer := nope; --!")
    ),
    "broken_subscript": Case(
        "refused", 'column "nope" does not exist', body("n[nope] := 1; --!\nRAISE NOTICE '%', n;", "n integer[];")
    ),
    "broken_while": Case("refused", 'column "nope" does not exist', body("WHILE nope LOOP --!\nNULL;\nEND LOOP;")),
    "broken_exit": Case("refused", 'column "nope" does not exist', body("LOOP\nEXIT WHEN nope; --!\nEND LOOP;")),
    "broken_case": Case(
        "refused", 'column "nope" does not exist', body("CASE now()\nWHEN nope THEN --!\nNULL;\nELSE\nNULL;\nEND CASE;")
    ),
    "broken_execute": Case("refused", 'column "nope" does not exist', body("EXECUTE 'SELECT $1' USING nope; --!")),
    "broken_handler": Case(
        "refused",
        'relation "nope" does not exist',
        body("DELETE FROM agents;\nEXCEPTION WHEN OTHERS THEN\nDELETE FROM nope; --!"),
    ),
    "missing_type": Case("refused", "no such type", body("NULL;", "n nope; --!")),
    "broken_sql_function": Case(
        "refused",
        'relation "nope" does not exist',
        "CREATE FUNCTION {name}() RETURNS bigint LANGUAGE sql SET search_path = public, pg_temp AS $$\n"
        "SELECT count(*) FROM nope --!\n$$",
    ),
    "text_to_number": Case(
        "assigned type",
        "Actual return type is text",
        body("SELECT max(a.name) INTO n FROM agents AS a; --!\nRAISE NOTICE '%', n;", "n integer;"),
    ),
    "wrong_label": Case(
        "assigned type",
        'invalid input value for enum "TransactionType": "SWAPPED"',
        body("kind := 'SWAPPED'; --!\nRAISE NOTICE '%', kind;", 'kind "TransactionType";'),
    ),
    "too_many_columns": Case(
        "assigned type",
        "Final statement must return exactly one column",
        body("SELECT 1, 2 INTO n; --!\nRAISE NOTICE '%', n;", "n integer;"),
    ),
    "too_few_columns": Case(
        "assigned type",
        "Final statement returns too few columns",
        body("SELECT a.id INTO agent FROM agents AS a; --!\nRAISE NOTICE '%', agent;", "agent agents;"),
    ),
    "condition_of_text": Case(
        "assigned type", "Actual return type is text", body("IF 'a' || current_user THEN --!\nNULL;\nEND IF;")
    ),
    "wrong_field_type": Case(
        "assigned type",
        "cannot cast type integer to uuid",
        body("agent.id := 1; --!\nRAISE NOTICE '%', agent;", "agent agents;"),
    ),
    "wrong_result": Case(
        "assigned type",
        "Actual return type is timestamp with time zone",
        "CREATE FUNCTION {name}() RETURNS integer LANGUAGE plpgsql SET search_path = public, pg_temp AS $$\n"
        "BEGIN\nRETURN now(); --!\nEND\n$$",
    ),
    "wrong_rows": Case(
        "assigned type",
        "Final statement returns text instead of integer at column 2",
        "CREATE FUNCTION {name}() RETURNS TABLE (a integer, b integer) LANGUAGE plpgsql\n"
        "SET search_path = public, pg_temp AS $$\nBEGIN\nRETURN QUERY SELECT 1, current_user::text; --!\nEND\n$$",
    ),
    "wrong_bound": Case(
        "assigned type",
        "Actual return type is timestamp with time zone",
        body("FOR n IN 1 .. now() LOOP --!\nRAISE NOTICE '%', n;\nEND LOOP;"),
    ),
    "unknown_variable": Case("unknown variable", "nothing of this name", body("n := 1; --!")),
    "unknown_into": Case("unknown variable", "nothing of this name", body("SELECT 1 INTO n; --!")),
    "unknown_field": Case(
        "unknown variable",
        "agents has no such field",
        body("agent.nope := 1; --!\nRAISE NOTICE '%', agent;", "agent agents;"),
    ),
    "unused": Case("unused variable", "it is never used", body("NULL;", "n integer; --!")),
    "never_read": Case("unused variable", "its value is never read", body("n := 1;", "n integer; --!")),
    "never_read_into": Case("unused variable", "its value is never read", body("SELECT 1 INTO n;", "n integer; --!")),
    "unused_parameter": Case(
        "unused variable",
        "it is never used",
        "CREATE FUNCTION {name}(p_id uuid) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$ --!\n"
        "BEGIN\nPERFORM FROM agents AS a WHERE a.id = a.user_id;\nEND\n$$",
    ),
    "never_set": Case("unset variable", "it is never set", body("RAISE NOTICE '%', n;", "n integer; --!")),
    "result_never_set": Case(
        "unset variable",
        "it is always NULL",
        "CREATE FUNCTION {name}(OUT a integer, OUT b integer) LANGUAGE plpgsql\n"
        "SET search_path = public, pg_temp AS $$ --!\nBEGIN\na := 1;\nEND\n$$",
    ),
    "after_return": Case("unreachable", "RETURN, never ends", body("RETURN;\nDELETE FROM agents; --!")),
    "after_raise": Case("unreachable", "RAISE, never ends", body("RAISE 'no';\nDELETE FROM agents; --!")),
    "after_both_ways": Case(
        "unreachable",
        "IF, never ends",
        body("IF current_user = 'a' THEN\nRETURN;\nELSE\nRAISE 'no';\nEND IF;\nDELETE FROM agents; --!"),
    ),
    "after_endless_loop": Case(
        "unreachable", "LOOP, never ends", body("LOOP\nNULL;\nEND LOOP;\nDELETE FROM agents; --!")
    ),
    "after_exit": Case("unreachable", "EXIT, never ends", body("LOOP\nEXIT;\nDELETE FROM agents; --!\nEND LOOP;")),
    "same_condition_again": Case(
        "unreachable",
        "a branch above it has the same condition",
        body("IF n = 1 THEN\nNULL;\nELSIF n  =  1 THEN --!\nNULL;\nEND IF;", "n integer := 1;"),
    ),
    "constant_condition": Case(
        "unreachable", "it is constant", body("IF 1 = 2 THEN --!\nDELETE FROM agents;\nEND IF;")
    ),
    "no_return": Case(
        "missing return",
        "a way reaches END without a RETURN",
        "CREATE FUNCTION {name}(a integer) RETURNS integer LANGUAGE plpgsql SET search_path = public, pg_temp AS $$\n"
        "BEGIN --!\nIF a = 1 THEN\nRETURN 2;\nELSIF a = 2 THEN\nRAISE 'no';\nEND IF;\nEND\n$$",
    ),
    "no_return_of_trigger": Case(
        "missing return",
        "a way reaches END",
        body("PERFORM NEW.id;", head=TRIGGER).replace("BEGIN", "BEGIN --!"),
        ON_AGENTS,
    ),
    "no_path": Case(
        "search path",
        "its caller's search_path",
        "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql AS $$ BEGIN NULL; END $$",
    ),
    "no_path_in_sql": Case(
        "search path",
        "its caller's search_path",
        "CREATE FUNCTION {name}() RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$",
    ),
    "no_pg_temp": Case(
        "search path",
        "a caller's temporary table comes first",
        "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$\n"
        "BEGIN NULL; END $$",
        "REVOKE EXECUTE ON FUNCTION {name} FROM public",
    ),
    "public_definer": Case(
        "public function",
        "PUBLIC may execute it",
        "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql SECURITY DEFINER\n"
        "SET search_path = public, pg_temp AS $$ BEGIN NULL; END $$",
    ),
    "lower_by_locale": Case(
        "database collation",
        "follow the database's locale",
        body("PERFORM\nFROM agents AS a\nWHERE lower(a.name) = 'a'; --!"),
    ),
    "ilike_by_locale": Case(
        "database collation",
        "follow the database's locale",
        body("PERFORM FROM agents AS a\nWHERE a.name ILIKE 'a'; --!"),
    ),
    "lower_in_sql": Case(
        "database collation",
        "follow the database's locale",
        "CREATE FUNCTION {name}(a text) RETURNS text LANGUAGE sql RETURN lower(a)",
    ),
    "select_without_into": Case("discarded rows", "it fails when it runs", body("SELECT a.id FROM agents AS a; --!")),
    "returning_without_into": Case(
        "discarded rows", "it fails when it runs", body("DELETE FROM agents RETURNING id; --!")
    ),
    "never_attached": Case("no trigger", "no trigger calls it", body("RETURN NEW;", head=TRIGGER)),
    "unfinished": Case(
        "unreadable function",
        "the end of the body where",
        body("IF true THEN\nNULL;").replace("\nEND\n$$", "\n--!$$"),
    ),
}

CORRECT = {
    "every_statement": """
CREATE FUNCTION {name}(p_id uuid, INOUT p_count integer, OUT names text[]) LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
<<outer_block>>
DECLARE
    agent agents%ROWTYPE;
    name agents.name%TYPE := 'a';
    same name%TYPE DEFAULT 'b' || name;
    number CONSTANT integer NOT NULL = 1;
    wanted ALIAS FOR $1;
    row record;
    each text;
    affected bigint;
    by_name CURSOR (wanted_name text) FOR SELECT a.id FROM agents AS a WHERE a.name = wanted_name;
    "Odd Name" text;
    empty_list integer[] := '{{}}';
BEGIN
    SELECT a.* INTO STRICT agent FROM agents AS a WHERE a.id = wanted AND a.id = $1; -- THEN; a comment
    FOR row IN SELECT a.id, a.name || '; LOOP' AS label FROM agents AS a LOOP
        CONTINUE WHEN row.id IS NULL;
        names := names || row.label;
    END LOOP;
    FOR row IN EXECUTE 'SELECT 1' LOOP
        RAISE DEBUG '%', row;
    END LOOP;
    FOR place IN REVERSE 3 .. number BY 1 LOOP
        names[place] := same;
        empty_list[place] := place;
    END LOOP;
    FOREACH each IN ARRAY names LOOP
        EXIT outer_block WHEN each = 'stop';
    END LOOP;
    <<attempts>>
    WHILE p_count < 3 LOOP
        p_count := p_count + 1;
        CONTINUE attempts WHEN p_count = 2;
        EXIT attempts WHEN p_count > 5;
    END LOOP attempts;
    FOR row IN by_name(agent.name) LOOP
        RAISE NOTICE '%', row.id;
    END LOOP;
    EXECUTE format('SELECT %L, $1', 'a') INTO name, same USING 'b';
    GET DIAGNOSTICS affected = ROW_COUNT;
    ASSERT affected >= 0, 'no count';
    CASE p_count
        WHEN 1, 2 THEN
            name := 'one or two';
        ELSE
            name = CASE WHEN p_count = 3 THEN 'three' END;
    END CASE;
    CASE
        WHEN p_count = 4 THEN
            NULL;
    END CASE;
    DECLARE
        number integer := outer_block.number;
        message text;
    BEGIN
        UPDATE agents AS a SET name = outer_block.name WHERE a.id = p_id RETURNING a.* INTO agent;
        DELETE FROM agents AS a WHERE a.id = {name}.p_id;
        "Odd Name" := agent.name || number || name;
    EXCEPTION
        WHEN unique_violation OR check_violation THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            RAISE WARNING '% % %', message, SQLERRM, SQLSTATE USING HINT = 'a', ERRCODE = 'P0001';
        WHEN OTHERS THEN
            RAISE;
    END;
    INSERT INTO ledger_purges (agent_id, reason, transactions, historical_swaps)
    VALUES (p_id, "Odd Name" || empty_list[1], 0, 0);
    WITH gone AS (DELETE FROM agents AS a WHERE a.id = p_id RETURNING a.name)
    SELECT array_agg(g.name) INTO names FROM gone AS g;
END
$$""",
    "rows": """
CREATE FUNCTION {name}(p_ids uuid[]) RETURNS TABLE (id uuid, label text) LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY SELECT a.id, a.name::text FROM agents AS a WHERE a.id = ANY(p_ids);
    RETURN QUERY EXECUTE 'SELECT $1, NULL' USING p_ids[1];
    id := p_ids[1];
    RETURN NEXT;
    RETURN;
END
$$""",
    "one_way_out": """
CREATE FUNCTION {name}(a integer) RETURNS text LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    LOOP
        IF a > 3 THEN
            RETURN 'more';
        END IF;
        a := a + 1;
    END LOOP;
END
$$""",
    "case_of_c": """
CREATE FUNCTION {name}(a text) RETURNS text LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    RETURN lower(a COLLATE "C");
END
$$""",
}
WITH_TRANSITION = """
CREATE FUNCTION of_all_rows() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM fresh AS f WHERE f.name = TG_NAME AND TG_ARGV[0] = 'a';
    RETURN NULL;
END
$$;
CREATE TRIGGER of_all_rows AFTER INSERT ON agents REFERENCING NEW TABLE AS fresh
FOR EACH STATEMENT EXECUTE FUNCTION of_all_rows('a')
"""


@pytest.fixture(scope="module")
def report(database_url: str) -> FunctionReport:
    """The check of the schema with all functions above in it, and nothing left behind."""
    with (
        psycopg.connect(database_url, autocommit=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute("SET LOCAL check_function_bodies = off")
        for name, case in BROKEN.items():
            connection.execute(case.sql.replace("{name}", name).encode())
            if case.then:
                connection.execute(case.then.replace("{name}", name).encode())
        for name, sql in CORRECT.items():
            connection.execute(sql.replace("{name}", name).replace("{{}}", "{}").encode())
        connection.execute(WITH_TRANSITION)
        return check_functions(connection)


def own_problems(report: FunctionReport, name: str) -> list[Problem]:
    """The problems of one function, without those that only plpgsql_check finds."""
    return [
        each for each in report.problems if each.query.startswith(f"function {name}(") and each.rule != "plpgsql_check"
    ]


@pytest.mark.parametrize("name", BROKEN)
def test_broken_function_is_reported_with_rule_and_line(report: FunctionReport, name: str) -> None:
    case = BROKEN[name]
    problems = own_problems(report, name)
    assert [(each.rule, case.actual in each.actual) for each in problems] == [(case.rule, True)], [*map(str, problems)]
    source = [*case.sql.split("$$"), ""][1].split("\n")
    wanted = next((number for number, line in enumerate(source, 1) if line.endswith("--!")), 1)
    assert (problems[0].sql_line, problems[0].sql_path.name.partition("(")[0]) == (wanted, name)


@pytest.mark.parametrize("name", [*CORRECT, "of_all_rows"])
def test_correct_function_has_no_problem(report: FunctionReport, name: str) -> None:
    assert [*map(str, own_problems(report, name))] == []
    assert any(each.startswith(f"{name}(") for each in report.functions)


def test_functions_of_migrations_have_no_problem(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        report = check_functions(connection)
        assert connection.info.transaction_status is TransactionStatus.IDLE
        left = connection.execute("SELECT FROM pg_proc WHERE pronamespace = pg_my_temp_schema()").fetchall()
    assert [*map(str, report.problems)] == []
    assert {"lock_signals_v1(bigint[])", "protect_ledger()", "sol_mint()"} <= {*report.functions}
    assert left == []


def test_problem_in_a_migration_has_file_and_line(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT prosrc FROM pg_proc WHERE proname = 'change_balances_v1'").fetchone()
    assert row is not None
    text = "UPDATE agent_balances AS b"
    path, line, column = Places().find("change_balances_v1", "change_balances_v1(…)", row[0], row[0].index(text))
    assert path.read_text().splitlines()[line - 1][column - 1 :].startswith(text)
    path, line, _ = Places().find("change_balances_v1", "change_balances_v1(…)", row[0], None)
    assert path.read_text().splitlines()[line - 1].startswith("CREATE FUNCTION change_balances_v1(")
    assert Places().find("nope", "nope()", "\n\nBEGIN", 3) == (Path("nope()"), 3, 2)


def test_renamed_column_is_reported_at_each_line_that_uses_it(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection, connection.transaction(force_rollback=True):
        connection.execute("ALTER TABLE agent_positions RENAME remaining_amount TO rest")
        report = check_functions(connection)
    own = [each for each in report.problems if each.rule != "plpgsql_check"]
    functions = {each.query.removeprefix("function ").partition("(")[0] for each in own}
    assert functions == {
        "opened_position_v1",
        "trade_buy_v1",
        "trade_dca_buy_v1",
        "trade_sell_v1",
        "trade_write_off_v1",
    }
    for each in own:
        lines = each.sql_path.read_text().splitlines()
        assert any("remaining_amount" in line for line in lines[each.sql_line - 1 : each.sql_line + 4]), str(each)


def test_command_shows_function_with_file_and_line(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexgent_db.cli.check.all_sources", lambda _: [])
    monkeypatch.setattr("nexgent_db.cli.check.read", lambda: {"queries": []})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(body("\nPERFORM nope;").format(name="broken_for_the_command"))
    try:
        text = RUN.invoke(app, ["check", "--database-url", database_url])
        as_json = RUN.invoke(app, ["check", "--database-url", database_url, "--json"])
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("DROP FUNCTION broken_for_the_command()")
    assert (text.exit_code, as_json.exit_code) == (1, 1)
    shown = text.stdout.splitlines()
    assert shown[0] == "refused  broken_for_the_command():4:9  function broken_for_the_command()"
    assert shown[2].split(maxsplit=1) == ["database", 'column "nope" does not exist']
    (problem, *_) = json.loads(as_json.stdout)["problems"]
    assert (problem["rule"], problem["sql_path"], problem["sql_line"]) == ("refused", "broken_for_the_command()", 4)
    assert "broken_for_the_command()" in json.loads(as_json.stdout)["functions"]


def test_extension_finds_more_where_the_server_has_it(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        available = "SELECT FROM pg_available_extensions WHERE name = 'plpgsql_check'"
        if connection.execute(available).fetchone() is None:
            pytest.skip("the server has no plpgsql_check")
        with connection.transaction(force_rollback=True):
            connection.execute(body("NULL;\nPERFORM format('%s %s', 1);\nPERFORM nope;").format(name="mine"))
            report = check_functions(connection)
        assert connection.execute("SELECT FROM pg_extension WHERE extname = 'plpgsql_check'").fetchone() is None
    assert report.extended
    assert [(each.rule, each.sql_line) for each in report.problems] == [("plpgsql_check", 4), ("refused", 5)]
    assert "format" in report.problems[0].actual
