# ruff: noqa: E501  # a statement a line
"""The check's inference is sound: statements run on rows full of NULLs return none where the check excludes them."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from nexgent_db.contract._catalog import ServerCatalog, read_catalog
from nexgent_db.contract._expressions import last_query
from nexgent_db.contract._nullability import Analysis
from nexgent_db.contract._rows import at_most_one, gives_a_row
from nexgent_db.contract._scope import Scope

TABLES = """
CREATE TABLE pg_temp.a (id int PRIMARY KEY, n int, t text, j jsonb, arr int[], b boolean);
CREATE TABLE pg_temp.d (id int PRIMARY KEY, a_id int UNIQUE, n int NOT NULL, t text);
INSERT INTO a VALUES
    (1, 1, 'x', '{"k": 1}', '{1, 2}', true),
    (2, NULL, NULL, NULL, NULL, NULL),
    (3, 3, '', '"y"', '{}', false),
    (4, 4, NULL, '[]', '{NULL}', NULL);
INSERT INTO d VALUES (1, 1, 1, 'x'), (2, NULL, 2, NULL), (3, 3, 3, NULL), (4, 9, 4, '');
"""

STATEMENTS = """
SELECT CASE WHEN NOT (n > 1) THEN 0 ELSE n END FROM a
SELECT CASE WHEN NOT (n IS NOT NULL) THEN 0 ELSE n END FROM a
SELECT CASE WHEN n IS NULL OR t IS NULL THEN 0 ELSE n END, CASE WHEN n > 1 THEN n ELSE 0 END FROM a
SELECT CASE WHEN b THEN 1 WHEN NOT b THEN 2 ELSE n END FROM a
SELECT CASE WHEN NOT b THEN 'x' ELSE b::text END FROM a
SELECT CASE b WHEN true THEN 1 ELSE n END FROM a
SELECT concat(VARIADIC NULL::text[]), num_nulls(VARIADIC NULL::int[]), jsonb_build_array(VARIADIC NULL::text[])
SELECT num_nonnulls(VARIADIC arr), concat(VARIADIC arr) FROM a
SELECT to_number('1',''), to_number(t, '') FROM a WHERE t IS NOT NULL
SELECT id FROM a ORDER BY id LIMIT length('1234')
SELECT id FROM a ORDER BY id LIMIT int8pl(1, 2)
SELECT id FROM a ORDER BY id LIMIT int8shl(1, 1)
SELECT id FROM a ORDER BY id LIMIT 1::int2
SELECT id FROM a ORDER BY id LIMIT 1.4::int8
SELECT id FROM a ORDER BY id LIMIT nullif(1, 1)
SELECT a.id, d.n, d.id FROM a LEFT JOIN d ON d.a_id = a.id AND d.n > 0
SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE d.n > 0 OR a.id > 0
SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE d.n > 0 OR d.id = 1
SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE NOT (d.n > 2)
SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE NOT (d.n IS NULL)
SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE coalesce(d.n, 0) >= 0
SELECT a.id, d.id, e.id FROM a LEFT JOIN d ON d.a_id = a.id LEFT JOIN d e ON e.id = d.id AND e.n = d.n
SELECT a.id, d.id, e.id FROM a LEFT JOIN (d LEFT JOIN a e ON e.id = d.id + 1) ON d.a_id = a.id
SELECT a.id, d.id, e.id FROM a LEFT JOIN (d LEFT JOIN a e ON e.id = d.id + 1) ON d.a_id = a.id WHERE e.id > 0
SELECT a.id, d.id FROM a RIGHT JOIN d ON d.a_id = a.id
SELECT a.id, d.id, coalesce(a.id, d.id) FROM a FULL JOIN d ON d.a_id = a.id
SELECT a.id, d.id FROM a FULL JOIN d ON d.a_id = a.id WHERE a.id > 0
SELECT id FROM a FULL JOIN d USING (id)
SELECT x.id, y.c FROM d x LEFT JOIN (a FULL JOIN d USING (id)) AS y(c) ON y.c = x.id + 1
SELECT coalesce(p.id, q.id) FROM d x LEFT JOIN (a p FULL JOIN d q ON p.id = q.a_id) ON p.id = x.id + 7
SELECT s.v FROM a LEFT JOIN (SELECT 1 AS v, id FROM d) s ON s.id = a.id + 2
SELECT s.v FROM a LEFT JOIN LATERAL (SELECT count(*) AS v FROM d WHERE d.a_id = a.id) s ON true
SELECT s.v FROM a LEFT JOIN LATERAL (SELECT a.n AS v FROM d WHERE d.a_id = a.id) s ON true
SELECT n FROM a WHERE n IS NOT NULL UNION SELECT n FROM a
SELECT n FROM a INTERSECT SELECT n FROM d
SELECT n FROM a EXCEPT SELECT n FROM d
SELECT n, count(*), grouping(n), sum(n), max(id), array_agg(t), bool_and(b) FROM a GROUP BY ROLLUP (n)
SELECT id, count(*) FROM a GROUP BY GROUPING SETS ((id), ())
SELECT sum(id), min(id), count(id), array_agg(id) FROM a WHERE false
SELECT sum(id) FROM a GROUP BY ()
SELECT n, sum(n), max(id), avg(id), sum(id) FILTER (WHERE id > 1), string_agg(t, ','), stddev(id), variance(id), mode() WITHIN GROUP (ORDER BY n), percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM a GROUP BY n
SELECT (SELECT count(*) FROM a HAVING false), (SELECT 1 WHERE false), (SELECT max(id) FROM a), (SELECT 1)
SELECT (SELECT id FROM a WHERE id = 1), (SELECT id FROM a WHERE id = 99), (SELECT count(*) FROM a LIMIT 0), (SELECT count(*) FROM a OFFSET 1)
SELECT (VALUES (1)), (SELECT x FROM (VALUES (1),(2)) v(x) LIMIT 1)
SELECT arr[1], arr[1:2], (j -> 'k'), j ->> 'k', j #> '{k}', j['k'] FROM a WHERE arr IS NOT NULL AND j IS NOT NULL
SELECT jsonb_array_length(CASE WHEN jsonb_typeof(j) = 'array' THEN j ELSE '[]' END), jsonb_typeof(j), (j)::text FROM a WHERE j IS NOT NULL
SELECT jsonb_extract_path(j, 'k'), jsonb_path_query_first(j, '$.z'), to_jsonb(n), to_jsonb(id), to_json(a.*) FROM a WHERE j IS NOT NULL
SELECT lag(id) OVER w, lag(id, 1, 0) OVER w, lag(id, 1, NULL) OVER w, lead(id, NULL, 0) OVER w, first_value(id) OVER w, nth_value(id, 2) OVER w, sum(id) OVER w, ntile(2) OVER w FROM a WINDOW w AS (ORDER BY id)
SELECT max(id) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING), first_value(id) OVER (ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING), max(id) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING EXCLUDE CURRENT ROW), count(*) OVER () FROM a
SELECT sum(id) FILTER (WHERE id > 5) OVER (ORDER BY id), array_agg(n) OVER () FROM a
SELECT id = ANY(arr), id = ANY(ARRAY[1,NULL]), id = ALL(ARRAY[1,2]), id IN (1, 2), id IN (SELECT n FROM a), id NOT IN (SELECT n FROM a WHERE n IS NOT NULL), id IN (1, n) FROM a
SELECT EXISTS (SELECT 1 FROM d WHERE d.n = a.n), ARRAY(SELECT n FROM d), a.n IN (SELECT n FROM d), id > ALL (SELECT n FROM d) FROM a
SELECT nullif(id, 1), greatest(n, 1), least(n, NULL), coalesce(n, NULL), coalesce(n, t::int, 0), n IS DISTINCT FROM 1, (n, 1) = (1, 1), ROW(n, 1), (id, 1) < (2, 2), b IS TRUE, b IS UNKNOWN FROM a WHERE t IS NULL
SELECT a, d FROM a LEFT JOIN d ON d.a_id = a.id
SELECT d IS NULL, (d).n, (d).id FROM a LEFT JOIN d ON d.a_id = a.id
SELECT d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE d IS NOT NULL
SELECT d.n FROM a LEFT JOIN d ON d.a_id = a.id WHERE NOT d IS NULL
SELECT x, y FROM (VALUES (1, NULL), (2, 3)) v(x, y)
SELECT x, o FROM unnest(ARRAY[1,NULL]) WITH ORDINALITY u(x, o)
SELECT x, y FROM unnest(ARRAY[1,2], ARRAY[1]) u(x, y)
SELECT x, y FROM ROWS FROM (generate_series(1,2), generate_series(1,3)) u(x, y)
SELECT generate_series(1,2), generate_series(1,3)
SELECT generate_series(1, id), id FROM a
SELECT key, value FROM a, jsonb_each(CASE WHEN jsonb_typeof(j) = 'object' THEN j ELSE '{}' END)
SELECT value FROM a, jsonb_array_elements_text('[null, 1]') v(value)
SELECT key, value FROM jsonb_each_text('{"a": null}')
SELECT x.* FROM jsonb_to_recordset('[{"a":1}]') AS x(a int, b int)
SELECT regexp_matches('a', '(b)?a'), regexp_match('a','b'), substring('a' from 'b'), substring('abc' from 2 for 1), split_part('a','b',3)
SELECT array_length('{}'::int[], 1), cardinality('{}'::int[]), array_position(ARRAY[1], 2), array_lower('{}'::int[],1), array_to_string(ARRAY[NULL::text], ','), array_upper('{}'::int[],1), array_ndims('{}'::int[])
SELECT lower('empty'::int4range), upper(int4range(1,NULL)), isempty('empty'::int4range), int4range(1,2) * int4range(3,4), range_merge(int4range(1,2), int4range(3,4))
SELECT format('%s', NULL), format(NULL), concat_ws(NULL, 'a'), concat_ws(',', NULL), quote_nullable(NULL), quote_literal(NULL), array_append(NULL, 1), array_cat(NULL, NULL::int[]), 'a' || NULL
WITH x AS (UPDATE a SET n = NULL WHERE n IS NOT NULL RETURNING id, n, t) SELECT * FROM x
UPDATE a SET n = NULL WHERE n IS NOT NULL RETURNING n, id
DELETE FROM a WHERE n IS NOT NULL RETURNING n, id, t
INSERT INTO a (id) VALUES (1) ON CONFLICT (id) DO NOTHING RETURNING id
INSERT INTO a (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = NULL WHERE a.n = 77 RETURNING id
INSERT INTO a (id, n) SELECT 10 + id, n FROM a WHERE n IS NOT NULL RETURNING id, n
UPDATE a SET n = d.n FROM d WHERE d.a_id = a.id RETURNING d.n, d.a_id, d.t, a.n
UPDATE a SET t = s.t FROM (SELECT d.t, d.id FROM d WHERE d.t IS NOT NULL) s WHERE s.id = a.id RETURNING s.t, a.t
WITH RECURSIVE r(i, v) AS (SELECT 1, 1 UNION ALL SELECT i + 1, NULL FROM r WHERE i < 3) SELECT i, v FROM r
WITH RECURSIVE r(i, v, w) AS (SELECT 1, 1, 1 UNION ALL SELECT i + 1, w, NULL FROM r WHERE i < 4) SELECT i, v, w FROM r
WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 4) SELECT r.i, q.i FROM r LEFT JOIN r q ON q.i = r.i + 1
WITH x AS (SELECT a.id, d.n FROM a LEFT JOIN d ON d.a_id = a.id) SELECT x.id, x.n, y.n FROM x LEFT JOIN x y ON y.n = x.id WHERE x.n > 0
SELECT z.n FROM (SELECT d.n FROM a LEFT JOIN d ON d.a_id = a.id) z WHERE z.n IS NULL
SELECT a.n FROM a WHERE a.n IS NULL
SELECT a.n FROM a WHERE a.n = 1 OR a.t = 'x'
SELECT a.n FROM a WHERE (a.n = 1) IS NOT FALSE
SELECT a.n FROM a WHERE (a.n = 1) IS NOT TRUE
SELECT a.n FROM a WHERE a.n <> ALL (ARRAY[]::int[])
SELECT a.n FROM a WHERE NOT (a.n = ANY (ARRAY[]::int[]))
SELECT a.n FROM a WHERE a.n NOT IN (SELECT id FROM d WHERE false)
SELECT a.n FROM a WHERE NOT (a.n IN (SELECT id FROM d WHERE false))
SELECT a.n FROM a WHERE NOT (a.n IS DISTINCT FROM NULL)
SELECT a.n FROM a WHERE NOT (a.n > 1 AND a.t = 'x')
SELECT a.n, a.t FROM a WHERE NOT (a.n > 1 OR a.t = 'y')
SELECT a.n FROM a JOIN a q ON a.n IS NOT DISTINCT FROM q.n
SELECT a.n FROM a WHERE CASE WHEN a.n IS NULL THEN true ELSE a.n > 0 END
SELECT n FROM a GROUP BY n
SELECT n, d.n FROM (SELECT a.id, a.n AS m FROM a) s(id, n) LEFT JOIN d USING (id, n) GROUP BY 1, 2
SELECT DISTINCT n FROM a
SELECT DISTINCT ON (n) n, id FROM a
SELECT d.id FROM d WHERE d.a_id = 1
SELECT d.id, x.id FROM d, a x WHERE d.a_id = 1 AND x.n = d.n
SELECT id FROM d WHERE a_id IS NOT DISTINCT FROM NULL
SELECT a.id FROM a, d WHERE a.id = d.a_id AND d.n = 1
SELECT a.id FROM a LEFT JOIN d ON d.a_id = a.id WHERE a.id = 1
SELECT a.id FROM a LEFT JOIN d ON d.n = a.id WHERE a.id = 1
SELECT max(id) FROM a GROUP BY b
SELECT 1 FROM a LIMIT 1
SELECT count(*) FROM a GROUP BY id HAVING id = 1
SELECT id FROM a WHERE id = 1 UNION ALL SELECT id FROM a WHERE id = 2
SELECT id FROM a WHERE id IN (1, 2)
SELECT (d.*) IS NOT NULL, d.ctid, d.tableoid FROM a LEFT JOIN d ON d.a_id = a.id
SELECT (SELECT x.n FROM d x WHERE x.a_id = a.id), (SELECT a.n) , (SELECT a.id) FROM a
SELECT (SELECT count(*) FROM d WHERE d.a_id = a.id GROUP BY d.n) FROM a
SELECT coalesce((SELECT n FROM d WHERE false), a.id) FROM a
SELECT t.x FROM a, LATERAL (SELECT a.n AS x) t WHERE t.x > 0
SELECT t.x, a.n FROM a, LATERAL (SELECT a.n AS x) t WHERE a.n > 0
SELECT to_char('infinity'::timestamp, 'YYYY'), extract(month FROM 'infinity'::timestamp), date_trunc('month', 'infinity'::timestamptz)::text
SELECT current_schema, current_setting('nope', true), obj_description(1, 'pg_class'), to_regclass('nope')
SELECT ('1'::jsonb)::int, '{"a":1}'::jsonb - 'a', '[]'::jsonb ->> 0, jsonb_set('{}', '{a}', NULL)
""".strip().splitlines()

# RETURNING old and new, MERGE … RETURNING and the SQL/JSON functions came with 16 to 18.
SINCE_18 = """
UPDATE a SET n = NULL WHERE n > 1 RETURNING old.n, new.n, old.id, n
INSERT INTO a (id, n) VALUES (9, NULL) RETURNING n, id, old.id, new.id
SELECT JSON_VALUE(j, '$.k'), JSON_EXISTS(j, '$.k'), JSON_QUERY(j, '$.zz'), JSON_OBJECT('a': n), JSON_ARRAY(n), JSON_ARRAYAGG(n) OVER () FROM a
SELECT JSON_OBJECTAGG(id: n), JSON_ARRAYAGG(n) FROM a WHERE false
MERGE INTO a USING d ON a.id = d.id WHEN MATCHED THEN UPDATE SET n = NULL WHEN NOT MATCHED THEN INSERT (id) VALUES (d.id) RETURNING a.id, a.n, d.id, merge_action()
""".strip().splitlines()


@pytest.fixture(scope="module")
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        connection.execute(TABLES)
        connection.commit()
        yield connection


@pytest.fixture(scope="module")
def catalog(connection: psycopg.Connection[Any]) -> ServerCatalog:
    return read_catalog(connection)


@pytest.mark.parametrize("statement", STATEMENTS + SINCE_18)
def test_rows_match_inferred_nullability_and_cardinality(
    connection: psycopg.Connection[Any], catalog: ServerCatalog, statement: str
) -> None:
    if statement in SINCE_18 and connection.info.server_version < 180000:
        pytest.skip("PostgreSQL 18")
    with connection.transaction(force_rollback=True):
        function = f"CREATE FUNCTION pg_temp.f() RETURNS SETOF record BEGIN ATOMIC {statement}; END"
        connection.execute(function.encode())
        body = connection.execute(
            "SELECT prosqlbody::text FROM pg_proc WHERE proname = 'f' AND pronamespace = pg_my_temp_schema()"
        ).fetchone()
        assert body is not None
        query = last_query(body[0])
        assert query is not None
        scope = Scope(query, None, catalog)
        rows = connection.execute(statement.encode()).fetchall()
        for place, nulls in enumerate(Analysis(catalog, {}).columns(query)):
            assert nulls or all(row[place] is not None for row in rows), f"column {place + 1} is NULL"
        assert len(rows) <= 1 or not at_most_one(scope)
        assert rows or not gives_a_row(scope)
