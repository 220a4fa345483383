# ruff: noqa: E501  # a case is a line
"""Inferred nullability over many shapes of SELECT; a column inferred NOT NULL never returns NULL."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from nexgent_db.contract._catalog import ServerCatalog, read_catalog
from nexgent_db.contract._expressions import Parameter, last_query
from nexgent_db.contract._nullability import Analysis

TABLES = """
CREATE TEMP TABLE a (id int PRIMARY KEY, x int NOT NULL, y int, s text, j jsonb, arr int[]);
CREATE TEMP TABLE b (id int PRIMARY KEY, a_id int, x int NOT NULL, y int, s text NOT NULL);
CREATE TEMP TABLE c (b_id int NOT NULL, x int NOT NULL, y int);
CREATE VIEW pg_temp.v AS SELECT x, y FROM a;
CREATE FUNCTION pg_temp.sure(n int) RETURNS int LANGUAGE sql RETURN coalesce(n, 0);
CREATE FUNCTION pg_temp.unsure(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT x FROM a WHERE id = n; END;
CREATE FUNCTION pg_temp.looped(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END';
"""

# n: never NULL, ?: may be NULL; one sign a column.
SHAPES = [
    ("SELECT id, x, y, s FROM a", "nn??"),
    ("SELECT x, y FROM v", "??"),
    ("SELECT 1, NULL, 'x'::text, NULL::int, true", "n?n?n"),
    # joins
    ("SELECT a.x, b.x FROM a JOIN b ON b.a_id = a.id", "nn"),
    ("SELECT a.x, b.x, b.id FROM a LEFT JOIN b ON b.a_id = a.id", "n??"),
    ("SELECT a.x, b.x FROM a RIGHT JOIN b ON b.a_id = a.id", "?n"),
    ("SELECT a.x, b.x FROM a FULL JOIN b ON b.a_id = a.id", "??"),
    ("SELECT a.x, b.x, c.x FROM a LEFT JOIN b ON b.a_id = a.id LEFT JOIN c ON c.b_id = b.id", "n??"),
    ("SELECT a.x, b.x, c.x FROM a LEFT JOIN (b JOIN c ON c.b_id = b.id) ON b.a_id = a.id", "n??"),
    ("SELECT a.x, b.x, c.x FROM a LEFT JOIN b ON b.a_id = a.id JOIN c ON c.b_id = b.id", "nnn"),
    ("SELECT a.x, b.x FROM a LEFT JOIN b ON b.a_id = a.id WHERE b.y > 3", "nn"),
    ("SELECT a.x, b.x FROM a LEFT JOIN b ON b.a_id = a.id WHERE b.y IS NULL", "n?"),
    ("SELECT a.x, b.x, b.y FROM a LEFT JOIN b ON b.a_id = a.id AND b.y > 3", "n??"),
    ("SELECT a.x, b.x FROM a FULL JOIN b ON b.a_id = a.id WHERE a.id > 1", "n?"),
    ("SELECT a.x, b.x FROM a FULL JOIN b ON b.a_id = a.id WHERE a.id > 1 AND b.id > 1", "nn"),
    ("SELECT coalesce(a.x, b.x), coalesce(a.y, b.x) FROM a FULL JOIN b ON b.a_id = a.id", "n?"),
    ("SELECT x FROM a FULL JOIN b USING (x)", "n"),
    ("SELECT id FROM a LEFT JOIN b USING (id)", "n"),
    ("SELECT id, b.x FROM a RIGHT JOIN b USING (id)", "nn"),
    ("SELECT y FROM a JOIN b USING (y)", "n"),
    ("SELECT a.x, l.x FROM a CROSS JOIN LATERAL (SELECT b.x FROM b WHERE b.a_id = a.id) AS l", "nn"),
    ("SELECT a.x, l.x FROM a LEFT JOIN LATERAL (SELECT b.x FROM b WHERE b.a_id = a.id) AS l ON true", "n?"),
    ("SELECT a.x, l.n FROM a LEFT JOIN LATERAL (SELECT count(*) AS n FROM b WHERE b.a_id = a.id) AS l ON true", "n?"),
    ("SELECT j.* FROM (a LEFT JOIN b ON b.a_id = a.id) AS j (i, p, q, r, s, t, u, v, w, x, y)", "nn?????????"),
    # filters
    ("SELECT y FROM a WHERE y > 3", "n"),
    ("SELECT y, s FROM a WHERE y > 3 OR s = 'x'", "??"),
    ("SELECT y FROM a WHERE y > 3 OR y < 1", "n"),
    ("SELECT y, s FROM a WHERE y IS NOT NULL AND s LIKE 'x%'", "nn"),
    ("SELECT y FROM a WHERE y IS DISTINCT FROM 3", "?"),
    ("SELECT y FROM a WHERE NOT (y > 3)", "n"),
    ("SELECT y FROM a WHERE y IN (1, 2)", "n"),
    ("SELECT y FROM a WHERE y IN (SELECT x FROM b)", "n"),
    ("SELECT y FROM a WHERE y NOT IN (SELECT x FROM b)", "?"),
    ("SELECT y FROM a WHERE coalesce(y, 1) = 1", "?"),
    ("SELECT y FROM a WHERE y = ALL (ARRAY[]::int[])", "?"),
    ("SELECT y FROM a WHERE (y > 3) IS TRUE", "n"),
    ("SELECT y FROM a WHERE (y > 3) IS NOT TRUE", "?"),
    # expressions
    ("SELECT x + 1, x + y, -x, x || 'a', s || 'a' FROM a", "n?nn?"),
    ("SELECT coalesce(y, 0), coalesce(y, NULL), coalesce(y, x) FROM a", "n?n"),
    ("SELECT nullif(x, 1), greatest(x, y), least(y, NULL) FROM a", "?n?"),
    ("SELECT CASE WHEN x > 1 THEN 1 ELSE 0 END, CASE WHEN x > 1 THEN 1 END, CASE WHEN x > 1 THEN y ELSE 0 END FROM a", "n??"),
    ("SELECT CASE WHEN y IS NULL THEN 0 ELSE y END, CASE WHEN y IS NOT NULL THEN y ELSE 0 END FROM a", "nn"),
    ("SELECT CASE WHEN y > 1 THEN y ELSE 0 END, CASE x WHEN 1 THEN y ELSE 0 END FROM a", "n?"),
    ("SELECT CASE WHEN y IS NULL OR s IS NULL THEN '' ELSE s || y END FROM a", "n"),
    ("SELECT CASE WHEN y IS NULL AND s IS NULL THEN '' ELSE s END FROM a", "?"),
    ("SELECT y IS NULL, y IS DISTINCT FROM 1, (y > 1) IS TRUE, y > 1, NOT (x > 1) FROM a", "nnn?n"),
    ("SELECT x = ANY (ARRAY[1, 2]), x = ANY (ARRAY[1, y]), x = ANY (arr) FROM a", "n??"),
    ("SELECT x IN (1, 2), y IN (1, 2) FROM a", "n?"),
    ("SELECT ARRAY[x, y], ROW(x, y), arr[1], arr FROM a", "nn??"),
    ("SELECT lower('A'), upper(s), length('x'), round(x::numeric, 1), abs(y) FROM a", "n?nn?"),
    ("SELECT now(), current_date, current_user, current_schema, gen_random_uuid()", "nnn?n"),
    ("SELECT to_char('infinity'::timestamptz, 'YYYY'), substring('abc' from 'x'), substring('abc', 1, 2)", "??n"),
    ("SELECT j -> 'a', j ->> 'a', '{}'::jsonb || '{}'::jsonb, jsonb_build_object('a', y), to_jsonb(x), to_jsonb(y) FROM a", "??nnn?"),
    ("SELECT array_length(ARRAY[]::int[], 1), cardinality(ARRAY[]::int[]), regexp_match('a', 'b')", "?n?"),
    ("SELECT x::text, y::text, x::numeric(10, 2), x::varchar(3), ('1'::jsonb)::int FROM a", "n?nn?"),
    ("SELECT concat(s, y), s COLLATE \"C\", (x, y) = (1, 1), (x, x) < (1, 2) FROM a", "n??n"),
    ("SELECT pg_temp.sure(y), pg_temp.sure(NULL), pg_temp.unsure(x), pg_temp.looped(x) FROM a", "nn??"),
    ("SELECT interval '1 day' * 2, now() - now(), extract(year from 'infinity'::timestamptz)", "nn?"),
    # aggregates and windows
    ("SELECT count(*), count(y), sum(x), max(x), array_agg(x), coalesce(sum(x), 0) FROM a", "nn???n"),
    ("SELECT y, count(*), sum(x), sum(y), min(s), array_agg(y), jsonb_agg(y), avg(x) FROM a GROUP BY y", "?nn??nnn"),
    ("SELECT sum(x) FILTER (WHERE x > 1), count(*) FILTER (WHERE x > 1) FROM a GROUP BY y", "?n"),
    ("SELECT stddev(x), string_agg(s, ','), bool_and(x > 1), string_agg(x::text, ',') FROM a GROUP BY y", "??nn"),
    ("SELECT x, y, count(*) FROM a GROUP BY ROLLUP (x, y)", "??n"),
    ("SELECT x, grouping(x), sum(x) FROM a GROUP BY GROUPING SETS ((x), ())", "?n?"),
    ("SELECT coalesce(y, 0) FROM a GROUP BY ROLLUP (coalesce(y, 0))", "?"),
    ("SELECT coalesce(y, 0), x + 1 FROM a GROUP BY coalesce(y, 0), x", "nn"),
    ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x) FROM a GROUP BY y", "?"),
    ("SELECT row_number() OVER w, rank() OVER w, lag(x) OVER w, lag(x, 1, 0) OVER w, sum(x) OVER w, sum(y) OVER w FROM a WINDOW w AS (ORDER BY id)", "nn?nn?"),
    ("SELECT first_value(x) OVER (ORDER BY id), sum(x) OVER (ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING), nth_value(x, 2) OVER (ORDER BY id), ntile(2) OVER (ORDER BY id) FROM a", "n??n"),
    ("SELECT max(x) FROM a HAVING count(*) > 0", "?"),
    # subqueries
    ("SELECT EXISTS (SELECT FROM a), (SELECT x FROM a LIMIT 1), (SELECT count(*) FROM a), ARRAY(SELECT y FROM a)", "n?nn"),
    ("SELECT (SELECT 1), (SELECT NULL::int), (SELECT 1 WHERE x > 1), (SELECT y) FROM a", "n???"),
    ("SELECT x IN (SELECT x FROM b), x IN (SELECT y FROM b), y IN (SELECT x FROM b), x > ALL (SELECT x FROM b) FROM a", "n??n"),
    ("SELECT (SELECT count(*) FROM b WHERE b.a_id = a.id GROUP BY b.x LIMIT 1), (SELECT max(b.x) FROM b) FROM a", "??"),
    ("SELECT (SELECT a.x + count(*) FROM b), (SELECT count(*) FROM b LIMIT 0), (SELECT count(*) FROM b OFFSET 1) FROM a", "n??"),
    ("SELECT q.x, q.y, q.n FROM (SELECT x, y, 1 AS n FROM a) AS q", "n?n"),
    ("SELECT q.x FROM b LEFT JOIN (SELECT a.x, a.id FROM a) AS q ON q.id = b.a_id", "?"),
    ("SELECT q.x FROM (SELECT a.x AS x FROM b LEFT JOIN a ON a.id = b.a_id) AS q WHERE q.x > 0", "n"),
    # CTEs
    ("WITH q AS (SELECT x, y FROM a) SELECT x, y FROM q", "n?"),
    ("WITH q AS (SELECT b.x FROM a LEFT JOIN b ON b.a_id = a.id), r AS (SELECT x FROM q) SELECT x FROM r", "?"),
    ("WITH RECURSIVE q (n, m) AS (SELECT 1, 1 UNION ALL SELECT n + 1, nullif(n, 3) FROM q WHERE n < 5) SELECT n, m FROM q", "n?"),
    ("WITH RECURSIVE q (n, m, k) AS (SELECT 1, 1, 1 UNION ALL SELECT n + 1, k, m + NULL FROM q WHERE n < 5) SELECT n, m, k FROM q", "n??"),
    ("WITH q AS (INSERT INTO c (b_id, x) VALUES (1, 2) RETURNING x, y) SELECT x, y FROM q", "n?"),
    # set operations, VALUES, functions
    ("SELECT x FROM a UNION ALL SELECT x FROM b", "n"),
    ("SELECT x, x FROM a UNION SELECT x, y FROM b", "n?"),
    ("SELECT y FROM a INTERSECT SELECT x FROM b", "n"),
    ("SELECT y FROM a EXCEPT SELECT x FROM b", "?"),
    ("SELECT x FROM a EXCEPT SELECT y FROM b", "n"),
    ("SELECT q.x FROM (SELECT x FROM a UNION ALL SELECT NULL) AS q", "?"),
    ("SELECT p, q FROM (VALUES (1, 2), (3, NULL)) AS v (p, q)", "n?"),
    ("SELECT n FROM generate_series(1, 3) AS n", "n"),
    ("SELECT e, o FROM unnest(ARRAY[1, NULL]) WITH ORDINALITY AS u (e, o)", "?n"),
    ("SELECT p, q FROM unnest(ARRAY[1], ARRAY[1, 2]) AS u (p, q)", "??"),
    ("SELECT k, v FROM jsonb_each('{\"a\": 1}') AS e (k, v)", "nn"),
    ("SELECT k, v FROM jsonb_each_text('{\"a\": null}') AS e (k, v)", "??"),
    ("SELECT generate_series(1, 2)", "n"),
    ("SELECT generate_series(1, 2), generate_series(1, 3)", "??"),
    # what is written
    ("INSERT INTO c (b_id, x) VALUES (1, 2) RETURNING b_id, y, x + 1", "n?n"),
    ("UPDATE a SET y = NULL WHERE y IS NOT NULL RETURNING x, y", "n?"),
    ("UPDATE a SET x = b.x FROM b WHERE b.a_id = a.id RETURNING a.x, b.x, b.a_id", "nnn"),
    ("DELETE FROM a WHERE y IS NOT NULL RETURNING x, y, s", "nn?"),
]  # fmt: skip
SINCE_18 = [
    ("UPDATE a SET y = 1 RETURNING old.x, new.x, old.y", "nn?"),
    ("INSERT INTO c (b_id, x) VALUES (1, 2) RETURNING old.x, new.x", "?n"),
    ("DELETE FROM a RETURNING old.x, new.x", "n?"),
]


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Tables with a few rows: every optional column is NULL in some."""
    some = random.Random(18)
    with psycopg.connect(database_url) as made:
        for statement in TABLES.strip().split(";\n"):
            made.execute(statement.removesuffix(";") + (";" if "ATOMIC" in statement else ""))

        def maybe(value: Any) -> Any:
            return value if some.random() < 0.6 else None

        for number in range(12):
            made.execute(
                "INSERT INTO a VALUES (%s, %s, %s, %s, %s, %s)",
                [
                    number,
                    some.randrange(5),
                    maybe(some.randrange(5)),
                    maybe("x"),
                    maybe('{"a": null}'),
                    maybe([1, None]),
                ],
            )
            made.execute(
                "INSERT INTO b VALUES (%s, %s, %s, %s, %s)",
                [number, maybe(some.randrange(20)), some.randrange(5), maybe(some.randrange(5)), "x"],
            )
            made.execute(
                "INSERT INTO c VALUES (%s, %s, %s)", [some.randrange(12), some.randrange(5), maybe(some.randrange(5))]
            )
        yield made
        made.rollback()


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection[Any]) -> ServerCatalog:
    return read_catalog(connection)


def signs(
    connection: psycopg.Connection[Any], catalog: ServerCatalog, sql: str, arguments: str = "", **given: Any
) -> str:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL search_path = pg_temp, public")
        connection.execute(f"CREATE FUNCTION pg_temp.checked({arguments}) RETURNS SETOF record BEGIN ATOMIC {sql}; END")
        row = connection.execute("SELECT prosqlbody::text FROM pg_proc WHERE proname = 'checked'").fetchone()
    assert row is not None
    query = last_query(row[0])
    assert query is not None
    parameters = given.get("parameters", {})
    return "".join("?" if nulls else "n" for nulls in Analysis(catalog, parameters).columns(query))


@pytest.mark.parametrize(("sql", "expected"), SHAPES + SINCE_18, ids=range(len(SHAPES + SINCE_18)))
def test_column_nullability_is_inferred(
    connection: psycopg.Connection[Any], catalog: ServerCatalog, sql: str, expected: str
) -> None:
    if (sql, expected) in SINCE_18 and connection.info.server_version < 180000:
        pytest.skip("OLD and NEW came with PostgreSQL 18")
    found = signs(connection, catalog, sql)
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL search_path = pg_temp, public")
        rows = connection.execute(sql).fetchall()
    for place, sign in enumerate(found):
        assert sign == "?" or all(row[place] is not None for row in rows), f"column {place + 1} is NULL in a row"
    assert found == expected


@pytest.mark.parametrize(
    ("sql", "arguments", "parameters", "expected"),
    [
        ("SELECT $1, $2", "int, int", {1: Parameter(nullable=False), 2: Parameter(nullable=True)}, "n?"),
        ("SELECT $1 + x FROM a", "int", {1: Parameter(nullable=False)}, "n"),
        ("SELECT coalesce($1, $2)", "int, int", {1: Parameter(), 2: Parameter(nullable=False)}, "n"),
        ("SELECT e FROM unnest($1) AS e", "int[]", {1: Parameter(nullable=False, element_nullable=False)}, "n"),
        ("SELECT e FROM unnest($1) AS e", "int[]", {1: Parameter(nullable=False)}, "?"),
        ("SELECT y FROM a WHERE y = $1", "int", {}, "n"),
    ],
)
def test_parameter_type_follows_its_annotation(
    connection: psycopg.Connection[Any],
    catalog: ServerCatalog,
    sql: str,
    arguments: str,
    parameters: dict[int, Parameter],
    expected: str,
) -> None:
    assert signs(connection, catalog, sql, arguments, parameters=parameters) == expected


FROMS = ["a", "b", "(SELECT id, x, y, s FROM a)", "(SELECT id, x, y, s FROM b WHERE y IS NOT NULL)", "(SELECT q.id, q.x, c.y, q.s FROM a AS q LEFT JOIN c ON c.b_id = q.id)"]  # fmt: skip
JOINS = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]
ITEMS = ["{}.id", "{}.x", "{}.y", "{}.s", "coalesce({}.y, {}.x)", "{}.x + {}.y", "CASE WHEN {}.y > 2 THEN {}.y ELSE {}.x END", "coalesce({}.id, {}.id, {}.id)", "{}.y IS NULL", "(SELECT max(c.x + {}.x) FROM c)"]  # fmt: skip
FILTERS = ["{}.y > 1", "{}.s = 'x'", "{}.y IS NULL", "{}.x IS NOT NULL", "({}.y > 1 OR {}.y < 3)", "coalesce({}.y, 1) = 1", "true"]  # fmt: skip


def made_up_query(some: random.Random) -> str:
    def filled(template: str) -> str:
        return template.format(*(some.choice("pqr") for _ in range(template.count("{}"))))

    def on(one: str, other: str) -> str:
        return f"{one}.id = {other}.x" + (f" AND {one}.y = {other}.y" if some.random() < 0.3 else "")

    p, q, r = (f"{some.choice(FROMS)} AS {name}" for name in "pqr")
    if some.random() < 0.5:
        joined = f"{p} {some.choice(JOINS)} {q} ON {on('p', 'q')} {some.choice(JOINS)} {r} ON {on('q', 'r')}"
    else:
        joined = f"{p} {some.choice(JOINS)} ({q} {some.choice(JOINS)} {r} ON {on('q', 'r')}) ON {on('p', 'q')}"
    items = ", ".join(filled(some.choice(ITEMS)) for _ in range(6))
    conditions = " AND ".join(filled(some.choice(FILTERS)) for _ in range(some.randrange(3))) or "true"
    return f"SELECT {items} FROM {joined} WHERE {conditions}"


@pytest.mark.parametrize("seed", range(150))
def test_column_inferred_not_null_never_returns_null(
    connection: psycopg.Connection[Any], catalog: ServerCatalog, seed: int
) -> None:
    sql = made_up_query(random.Random(seed))
    found = signs(connection, catalog, sql)
    rows = connection.execute(sql).fetchall()
    for place, sign in enumerate(found):
        assert sign == "?" or all(row[place] is not None for row in rows), f"column {place + 1} of {sql}"
