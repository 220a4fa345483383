"""Statements that Citus refuses, by the rule that finds each, and their accepted counterparts.

They are about the tables of ``TABLES`` in a distributed schema.
"""

from __future__ import annotations

from typing import Final

TABLES: Final = (
    "CREATE TABLE t (id int CONSTRAINT t_pkey PRIMARY KEY, at timestamptz DEFAULT now(), who text DEFAULT 'x')",
    "CREATE TABLE u (id int CONSTRAINT u_pkey PRIMARY KEY, at timestamptz DEFAULT now(), who text DEFAULT 'x')",
)

REFUSED: Final = [
    ("clock-in-upsert", "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET at = now()"),
    (
        "clock-in-upsert",
        "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE\nSET at = CURRENT_TIMESTAMP RETURNING id",
    ),
    (
        "session-function-in-upsert",
        "INSERT INTO t (id, who) SELECT u.id, session_user FROM u ON CONFLICT (id) DO UPDATE SET who = excluded.who",
    ),
    ("subquery-in-values", "INSERT INTO t (id) VALUES ((SELECT count(*) FROM u))"),
    ("mixed-alter-table", "ALTER TABLE t ADD COLUMN n int,\nADD CONSTRAINT t_n_check CHECK (n > 0)"),
    ("unpinned-function", "CREATE FUNCTION f() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$"),
    ("whole-row-argument", "SELECT name_of(x) FROM t AS x WHERE x.id > 0"),
    ("clock-in-case", "UPDATE t SET at = CASE WHEN t.who = 'x' THEN now() ELSE t.at END WHERE t.id > 0"),
    ("clock-in-case", "UPDATE t SET at = coalesce(t.at, CURRENT_TIMESTAMP)"),
    ("clock-in-case", "DELETE FROM t WHERE coalesce(t.at, now()) <= now()"),
    ("function-in-simple-case", "SELECT CASE t.who WHEN upper('a') THEN 1 ELSE 2 END FROM t"),
]

ACCEPTED: Final = [
    "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET at = excluded.at RETURNING at",
    "INSERT INTO t (id, at) VALUES (1, now()) ON CONFLICT (id) DO NOTHING",
    "INSERT INTO t (id, who) SELECT u.id, u.who FROM u ON CONFLICT (id) DO UPDATE SET who = excluded.who",
    "INSERT INTO t (id) SELECT count(*)::int + 9 FROM u",
    "ALTER TABLE t ADD CONSTRAINT t_m_check CHECK (id > 0)",
    "ALTER TABLE t ADD COLUMN m int, ADD COLUMN o int",
    "SELECT CASE WHEN t.who = upper('a') THEN 1 ELSE 2 END FROM t",
    "UPDATE t SET at = now(), who = coalesce(t.who, 'y') WHERE t.at <= now()",
    "UPDATE t SET at = coalesce(t.at, clock.at) FROM (SELECT statement_timestamp() AS at) AS clock WHERE t.id > 0",
    "SELECT count(x), to_jsonb(x), x, (x.id) FROM t AS x GROUP BY x.id",
]
