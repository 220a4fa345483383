"""The history tables: the applied text of each migration, and every repair of the record."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nexgent_db.errors import InvalidInput
from nexgent_db.migrations import BOOKKEEPING_TABLES, MigrationError, Migrator
from tests.support.builders.migrating import Write, applied, connected, log_of, one, tables

THREE = ["0001_a", "0002_b", "0003_c"]


def kinds(migrator: Migrator) -> dict[str, str]:
    return {s.name: s.problem.kind for s in migrator.status() if s.problem is not None}


def recorded_texts(conninfo: str) -> list[tuple[Any, ...]]:
    with connected(conninfo) as conn:
        return conn.execute(
            "SELECT migration_id, origin, checksum FROM _nexgent_migration ORDER BY migration_id"
        ).fetchall()


def rename(folder: Path, old: str, new: str) -> None:
    for ending in (".sql", ".rollback.sql"):
        (folder / f"{old}{ending}").rename(folder / f"{new}{ending}")


# --- Recording ----------------------------------------------------------------------------------


def test_applied_text_is_recorded_and_deleted_on_rollback(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    sums = [hashlib.sha256((three / f"{name}.sql").read_bytes()).hexdigest() for name in THREE]
    assert recorded_texts(empty_database) == [(name, "applied", sum_) for name, sum_ in zip(THREE, sums, strict=True)]
    content = one(empty_database, "SELECT content FROM _nexgent_migration WHERE migration_id = '0002_b'")
    assert content == (three / "0002_b.sql").read_text()
    migrator.rollback(2)
    assert [name for name, *_ in recorded_texts(empty_database)] == ["0001_a"]


def test_history_tables_are_the_only_extra_objects(empty_database: str, three: Path) -> None:
    Migrator(empty_database, three).migrate()
    with connected(empty_database) as conn:
        names = {name for (name,) in conn.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")}  # noqa: E501  # fmt: skip
    assert names - {"a", "b", "c"} == {*BOOKKEEPING_TABLES} - {"yoyo_lock"}  # plain yoyo's, when it comes


def test_crlf_and_byte_order_mark_are_no_edit(empty_database: str, write: Write, folder: Path) -> None:
    body = "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n    RETURN 1;\nEND\n$$;\n"
    path = write("0001_a", body, "DROP FUNCTION f();")
    migrator = Migrator(empty_database, folder)
    migrator.migrate()
    source = one(empty_database, "SELECT prosrc FROM pg_proc WHERE proname = 'f'")
    path.write_bytes(b"\xef\xbb\xbf" + body.replace("\n", "\r\n").encode())
    assert kinds(migrator) == {}
    migrator.rollback()
    migrator.migrate()
    assert one(empty_database, "SELECT prosrc FROM pg_proc WHERE proname = 'f'") == source


# --- Refusing -----------------------------------------------------------------------------------


def test_edited_migration_is_refused_with_difference(empty_database: str, write: Write, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate(to="0002_b")
    write("0001_a", "CREATE TABLE a (n bigint);", "DROP TABLE a;")
    assert kinds(migrator) == {"0001_a": "edited"}
    for call in (migrator.migrate, migrator.rollback, migrator.plan):
        with pytest.raises(MigrationError, match=r"0001_a\.sql: was edited after it was applied at 20\d\d") as caught:
            call()
        assert caught.value.explanation.splitlines() == [
            "--- 0001_a.sql, as applied",
            f"+++ {three / '0001_a.sql'}",
            "@@ -1 +1 @@",
            "-CREATE TABLE a (n int);",
            "+CREATE TABLE a (n bigint);",
        ]
    assert tables(empty_database) == ["a", "b"]
    write("0001_a", "CREATE TABLE a (n int);", "DROP TABLE a;")
    assert migrator.migrate() == ["0003_c"]


def test_edited_rollback_is_accepted(empty_database: str, three: Path) -> None:
    """No rollback has run the text yet."""
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    (three / "0003_c.rollback.sql").write_text("DROP TABLE c CASCADE;")
    assert migrator.rollback() == ["0003_c"]


def test_renamed_migration_is_refused_with_both_names(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    rename(three, "0002_b", "0002_better")
    assert kinds(migrator) == {"0002_b": "renamed"}
    with pytest.raises(MigrationError, match="0002_b: is now called 0002_better, with the same content"):
        migrator.migrate()
    rename(three, "0002_better", "0002_b")
    assert migrator.migrate() == []


def test_removed_migration_is_refused_by_name(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    for path in three.glob("0002_b*"):
        path.unlink()
    assert kinds(migrator) == {"0002_b": "missing"}
    with pytest.raises(MigrationError, match="0002_b: the database has it, .* does not: its file was removed"):
        migrator.migrate()


# --- Marks that others made ---------------------------------------------------------------------


def delete_recorded_texts(conninfo: str) -> None:
    """Leave the database as a release without our history tables left it."""
    with connected(conninfo) as conn:
        conn.execute("DROP TABLE _nexgent_migration, _nexgent_repair")


def test_database_without_recorded_texts_adopts_folder_once(empty_database: str, write: Write, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate(to="0002_b")
    delete_recorded_texts(empty_database)
    assert kinds(migrator) == {}
    migrator.migrate()
    assert [(name, origin) for name, origin, _ in recorded_texts(empty_database)] == [
        ("0001_a", "assumed"),
        ("0002_b", "assumed"),
        ("0003_c", "applied"),
    ]
    write("0001_a", "CREATE TABLE a (n bigint);", "DROP TABLE a;")
    assert kinds(migrator) == {"0001_a": "edited"}


def test_history_tables_are_created_when_writable_without_pending_migrations(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    delete_recorded_texts(empty_database)
    read_only = make_conninfo(empty_database, options="-c default_transaction_read_only=on")
    assert Migrator(read_only, three).migrate() == []
    assert one(empty_database, "SELECT to_regclass('_nexgent_migration')") is None
    assert migrator.migrate() == []
    assert [origin for _, origin, _ in recorded_texts(empty_database)] == ["assumed"] * 3


def test_recorded_text_belongs_to_its_mark_only(empty_database: str, write: Write, three: Path) -> None:
    """Plain yoyo rolls back and applies again: the text that it applies is not the recorded one."""
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    with connected(empty_database) as conn:
        conn.execute("UPDATE _yoyo_migration SET applied_at_utc = applied_at_utc + interval '1 s'")
    write("0003_c", "CREATE TABLE c (n int); -- edited in between", "DROP TABLE c;")
    assert kinds(migrator) == {}
    migrator.migrate()
    assert {origin for _, origin, _ in recorded_texts(empty_database)} == {"assumed"}


# --- Repair -------------------------------------------------------------------------------------


def repairs(conninfo: str) -> list[tuple[Any, ...]]:
    with connected(conninfo) as conn:
        return conn.execute("SELECT repaired_by, reason, accepted FROM _nexgent_repair ORDER BY repaired_at").fetchall()


def test_repair_accepts_folder_and_records_change_user_and_reason(
    empty_database: str, write: Write, three: Path
) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    old = (three / "0001_a.sql").read_text()
    write("0001_a", "CREATE TABLE a (n int); -- a comment", "DROP TABLE a;")
    rename(three, "0003_c", "0003_cc")
    write("0002_later", "CREATE TABLE d (n int);", "DROP TABLE d;")
    assert kinds(migrator) == {"0001_a": "edited", "0003_c": "renamed", "0002_later": "out_of_order"}
    before = applied(migrator)

    accepted = migrator.repair("  comments were added in review ")
    assert {p.name: p.kind for p in accepted} == {"0001_a": "edited", "0003_c": "renamed", "0002_later": "out_of_order"}
    assert kinds(migrator) == {}
    assert tables(empty_database) == ["a", "b", "c"]  # no migration was run
    assert [s.name for s in migrator.status() if s.applied_at is None] == ["0002_later"]
    assert len(applied(migrator)) == len(before)
    ((who, reason, what),) = repairs(empty_database)
    assert "@" in who
    assert reason == "comments were added in review"
    assert {(each["kind"], each["migration"]) for each in what} == {
        ("edited", "0001_a"),
        ("renamed", "0003_c"),
        ("out_of_order", "0002_later"),
    }
    assert [each["content"] for each in what if each["kind"] == "edited"] == [old]
    assert log_of(empty_database)[3:] == ["unmark 0003_c", "mark 0003_cc"]

    assert migrator.migrate() == ["0002_later"]
    assert migrator.rollback(to="0002_b") == ["0003_cc", "0002_later"]
    assert tables(empty_database) == ["a", "b"]


def test_repair_record_keeps_deleted_text(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    content = (three / "0002_b.sql").read_text()
    for path in three.glob("0002_b*"):
        path.unlink()
    (accepted,) = migrator.repair("it was never released")
    assert (accepted.kind, accepted.name) == ("missing", "0002_b")
    assert applied(migrator) == ["0001_a", "0003_c"]
    assert tables(empty_database) == ["a", "b", "c"]
    ((_, _, what),) = repairs(empty_database)
    assert what[0]["content"] == content


def test_older_release_keeps_newer_migrations_unless_named(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    for path in three.glob("0003_c*"):
        path.unlink()
    with pytest.raises(MigrationError, match="probably newer than this release: it has 0003_c"):
        migrator.repair("why not")
    with pytest.raises(MigrationError, match="cannot forget 0001_a"):
        migrator.repair("why not", forget=["0003_c", "0001_a"])
    assert repairs(empty_database) == []
    migrator.repair("an experiment", forget=["0003_c"])
    assert applied(migrator) == ["0001_a", "0002_b"]


def test_repair_requires_reason_and_problem(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    migrator.migrate()
    with pytest.raises(InvalidInput, match="reason"):
        migrator.repair("  ")
    assert migrator.repair("nothing") == []
    assert repairs(empty_database) == []


# --- Marked without being run -------------------------------------------------------------------


def test_mark_runs_no_sql_and_is_recorded(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)
    assert migrator.mark_applied(["0001_a", "0002_b"], "made by hand") == ["0001_a", "0002_b"]
    assert tables(empty_database) == []
    assert log_of(empty_database) == ["mark 0001_a", "mark 0002_b"]
    assert [(name, origin) for name, origin, _ in recorded_texts(empty_database)] == [
        ("0001_a", "adopted"),
        ("0002_b", "adopted"),
    ]
    assert one(empty_database, "SELECT DISTINCT note FROM _nexgent_migration") == "made by hand"
    assert migrator.mark_applied(["0001_a"], "again") == []
    with pytest.raises(MigrationError, match=r"the folder has no 0009_z"):
        migrator.mark_applied(["0009_z"], "")


def test_marks_are_atomic_and_leave_no_table(empty_database: str, three: Path) -> None:
    migrator = Migrator(empty_database, three)

    def refuse(conn: psycopg.Connection[Any]) -> None:
        conn.execute("CREATE TABLE looked_at (n int)")
        raise MigrationError("the catalogs differ")

    with pytest.raises(MigrationError, match="the catalogs differ"):
        migrator.mark_applied(THREE, "adopted", refuse)
    with pytest.raises(MigrationError, match="0001_a: not applied, but older than 0002_b"):
        migrator.mark_applied(["0002_b"], "a gap")
    assert one(empty_database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
