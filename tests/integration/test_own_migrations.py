"""A service's migrations beside the package's: an order across folders, and a history for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexgent_db import Database
from nexgent_db.errors import ConfigurationError, MigrationError, SchemaNotReady
from nexgent_db.migrations import Migrator
from tests.support.builders.migrating import log_of, one, tables


def put(folder: Path, name: str, up: str, down: str = "SELECT 1;") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.sql").write_text(up)
    (folder / f"{name}.rollback.sql").write_text(down)
    return folder / f"{name}.sql"


@pytest.fixture
def alerts(tmp_path: Path) -> Path:
    """A service's two migrations, whose tables refer to those of ``three``."""
    folder = tmp_path / "alerts"
    put(folder, "0001_alerts", "CREATE TABLE alerts (n int);", "DROP TABLE alerts;")
    put(folder, "0002_more_alerts", "CREATE TABLE more_alerts (n int);", "DROP TABLE more_alerts;")
    return folder


def migrator(conninfo: str, three: Path, **migrations: Path) -> Migrator:
    return Migrator(conninfo, three, migrations=migrations)


def test_own_migrations_follow_the_packages(empty_database: str, three: Path, alerts: Path) -> None:
    both = migrator(empty_database, three, alerts=alerts)
    expected = ["0001_a", "0002_b", "0003_c", "alerts/0001_alerts", "alerts/0002_more_alerts"]
    assert both.pending() == expected
    assert [each.name for each in both.plan("0001_alerts")] == expected[:4]
    assert both.migrate(to="alerts/0001_alerts") == expected[:4]
    assert both.migrate() == expected[4:]
    assert [(each.name, each.history) for each in both.status()] == list(
        zip(expected, ["nexgent_db"] * 3 + ["alerts"] * 2, strict=True)
    )
    assert tables(empty_database) == ["a", "alerts", "b", "c", "more_alerts"]
    # Without the folder, and with a third one's, the history is left alone.
    assert migrator(empty_database, three).status() == both.status()[:3]
    assert migrator(empty_database, three).migrate() == []
    assert migrator(empty_database, three, audit=alerts).pending() == ["audit/0001_alerts", "audit/0002_more_alerts"]


def test_each_release_moves_alone(empty_database: str, three: Path, alerts: Path) -> None:
    both = migrator(empty_database, three, alerts=alerts)
    both.migrate()
    put(three, "0004_d", "CREATE TABLE d (n int);", "DROP TABLE d;")
    assert migrator(empty_database, three).migrate() == ["0004_d"]
    put(alerts, "0000_early", "SELECT 1;")
    with pytest.raises(MigrationError, match="alerts/0000_early: not applied, but older than alerts/0002_more_alerts"):
        both.migrate()
    (alerts / "0000_early.sql").rename(alerts / "0003_late.sql")
    (alerts / "0000_early.rollback.sql").rename(alerts / "0003_late.rollback.sql")
    assert both.migrate() == ["alerts/0003_late"]


def test_rollback_undoes_what_was_applied_last(empty_database: str, three: Path, alerts: Path) -> None:
    both = migrator(empty_database, three, alerts=alerts)
    both.migrate()
    put(three, "0004_d", "CREATE TABLE d (n int);", "DROP TABLE d;")
    both.migrate()
    assert both.rollback(2) == ["0004_d", "alerts/0002_more_alerts"]
    both.migrate()
    assert both.rollback(history="alerts") == ["alerts/0002_more_alerts"]
    assert both.rollback(to="0002_b", history="nexgent_db") == ["0004_d", "0003_c"]
    assert tables(empty_database) == ["a", "alerts", "b"]
    assert both.rollback(to="0001_a") == ["alerts/0001_alerts", "0002_b"]
    with pytest.raises(MigrationError, match="no history is called 'audit': there is alerts, nexgent_db"):
        both.rollback(history="audit")
    with pytest.raises(MigrationError, match="cannot roll back to 0001_a: it is not applied in alerts"):
        both.rollback(to="0001_a", history="alerts")


def test_dependency_across_folders_decides_the_order(empty_database: str, three: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    put(first, "0010_x", "-- depends: second/0021_needed 0003_c\nSELECT 1;")
    put(first, "0011_y", "SELECT 1;")
    put(second, "0020_before", "SELECT 1;")
    put(second, "0021_needed", "SELECT 1;")
    put(second, "0022_after", "SELECT 1;")
    both = migrator(empty_database, three, first=first, second=second)
    assert both.migrate()[3:] == [
        "second/0020_before",
        "second/0021_needed",
        "first/0010_x",
        "first/0011_y",
        "second/0022_after",
    ]
    with pytest.raises(MigrationError, match="0003_c: cannot be rolled back: first/0010_x depends on it"):
        both.rollback(history="nexgent_db")
    assert tables(empty_database) == ["a", "b", "c"]


def test_impossible_folders_are_refused_with_the_place(empty_database: str, three: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    path = put(own, "0009_x", "-- depends: 0008_absent\nSELECT 1;")
    with pytest.raises(MigrationError, match=f"{path}: depends on 0008_absent, which the folders do not have"):
        migrator(empty_database, three, own=own).migrate()
    other = tmp_path / "other"
    put(other, "0007_y", "-- depends: 0009_x\nSELECT 1;")
    put(own, "0009_x", "-- depends: other/0007_y\nSELECT 1;")
    with pytest.raises(MigrationError, match="depends on .*, which needs it before"):
        migrator(empty_database, three, own=own, other=other).migrate()
    twice = put(own, "0003_c", "SELECT 1;")
    with pytest.raises(MigrationError, match=f"{twice}: has the name of .*0003_c.sql: give it another"):
        migrator(empty_database, three, own=own).migrate()
    with pytest.raises(ConfigurationError, match="'My-own' cannot name a history"):
        migrator(empty_database, three, **{"My-own": own})
    with pytest.raises(ConfigurationError, match="nexgent_db is that of this package's own"):
        migrator(empty_database, three, nexgent_db=own)
    assert tables(empty_database) == []


def test_edited_and_missing_own_files_are_repaired_alone(empty_database: str, three: Path, alerts: Path) -> None:
    both = migrator(empty_database, three, alerts=alerts)
    both.migrate()
    put(alerts, "0001_alerts", "CREATE TABLE alerts (n bigint);")
    (alerts / "0002_more_alerts.sql").unlink()
    (alerts / "0002_more_alerts.rollback.sql").unlink()
    with pytest.raises(MigrationError, match="edited after it was applied.*the database is newer than this release"):
        both.migrate()
    assert migrator(empty_database, three).migrate() == []
    with pytest.raises(MigrationError, match="--forget alerts/0002_more_alerts"):
        both.repair("tests")
    accepted = both.repair("tests", forget=["alerts/0002_more_alerts"])
    assert [(each.kind, each.name) for each in accepted] == [
        ("edited", "alerts/0001_alerts"),
        ("missing", "alerts/0002_more_alerts"),
    ]
    assert both.migrate() == []
    assert log_of(empty_database)[-1] == "unmark alerts/0002_more_alerts"


def test_assert_schema_covers_the_folders_that_it_is_told(fresh_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    put(folder, "0001_alerts", "CREATE TABLE alerts (id uuid REFERENCES agents (id));", "DROP TABLE alerts;")
    Migrator(fresh_database_url, migrations={"alerts": folder}).migrate()
    put(folder, "0002_more", "SELECT 1;")
    with Database(fresh_database_url) as db:
        db.assert_schema()
    with Database(fresh_database_url, migrations={"alerts": folder}) as db:
        with pytest.raises(SchemaNotReady, match="^alerts: 1 of 2 migrations are missing, from 0002_more on"):
            db.assert_schema()
        Migrator(fresh_database_url, migrations={"alerts": folder}).migrate()
        db.assert_schema()
    older = tmp_path / "older"
    put(older, "0001_alerts", (folder / "0001_alerts.sql").read_text())
    with (
        Database(fresh_database_url, migrations={"alerts": older}) as db,
        pytest.raises(SchemaNotReady, match="^alerts: the database is newer than this release.*0002_more"),
    ):
        db.assert_schema()
    with pytest.raises(ConfigurationError, match="'Alerts' cannot name a history"):
        Database(fresh_database_url, migrations={"Alerts": folder})
    assert one(fresh_database_url, "SELECT count(*) FROM _yoyo_migration WHERE migration_id LIKE '%/%'") == 2


def test_last_rolled_back_is_the_services_table_that_refers_to_ours(fresh_database_url: str, tmp_path: Path) -> None:
    folder = tmp_path / "alerts"
    put(folder, "0001_alerts", "CREATE TABLE alerts (id uuid REFERENCES agents (id));", "DROP TABLE alerts;")
    both = Migrator(fresh_database_url, migrations={"alerts": folder})
    both.migrate()
    assert both.rollback() == ["alerts/0001_alerts"]


def test_plan_names_what_a_migration_would_break(empty_database: str, three: Path, tmp_path: Path) -> None:
    put(
        three,
        "0004_d",
        "CREATE TABLE d (n int, m int, o int, k int, CONSTRAINT d_key UNIQUE (n));\nCREATE VIEW v AS SELECT k FROM d;",
    )
    own = tmp_path / "own"
    put(
        own,
        "0001_e",
        "CREATE TABLE e (n int CONSTRAINT e_fkey REFERENCES d (n));\nCREATE VIEW w AS SELECT m + 1 AS p FROM d;\n"
        "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM a; END;",
    )
    both = migrator(empty_database, three, own=own)
    both.migrate()
    put(three, "0005_x", "ALTER TABLE d ALTER COLUMN n TYPE bigint, ALTER o TYPE bigint, ALTER m SET DATA TYPE bigint;")
    put(
        three, "0006_y", "ALTER TABLE d DROP CONSTRAINT d_key, DROP COLUMN o;\nDROP VIEW v;\nDROP TABLE IF EXISTS a, b;"
    )
    put(three, "0007_z", "DO $$ BEGIN DROP TABLE d; END $$;")
    assert [(each.name, each.breaks) for each in both.plan()] == [
        ("0005_x", ("changes the type of column d.m: view w depends on it",)),
        (
            "0006_y",
            (
                "drops constraint d.d_key: constraint e_fkey on table e depends on it",
                "drops table a: function f() depends on it",
            ),
        ),
        (
            "0007_z",
            (
                "drops table d: constraint e_fkey on table e depends on it",
                "drops table d: view w depends on it",
            ),
        ),
    ]
    with pytest.raises(MigrationError, match="0005_x.sql:1: cannot alter type of a column used by a view") as caught:
        both.migrate()
    assert "view w" in caught.value.explanation
