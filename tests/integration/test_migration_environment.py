"""The migrator in other environments: roles, schemas, passwords, hosts, locales, and plain yoyo beside it."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db.errors import AuthenticationFailed, ConfigurationError, DatabaseUnavailable
from nexgent_db.migrations import MigrationError, Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION
from nexgent_db.settings import Settings
from tests.support.builders.migrating import (
    CHECKOUT,
    Write,
    assert_same,
    catalog_of,
    connected,
    log_of,
    one,
    tables,
    url_of,
    yoyo_command,
)


def test_status_writes_nothing_and_needs_no_write_right(empty_database: str, three: Path) -> None:
    read_only = make_conninfo(empty_database, options="-c default_transaction_read_only=on")
    assert Migrator(read_only, three).pending() == ["0001_a", "0002_b", "0003_c"]
    assert one(empty_database, "SELECT count(*) FROM pg_class WHERE relname LIKE '%yoyo%'") == 0
    Migrator(empty_database, three).migrate()
    assert Migrator(read_only, three).migrate() == []  # nothing pending: nothing written
    with psycopg.connect(empty_database) as busy:  # not even the lock of an ALTER in the way of other tables
        busy.execute("LOCK TABLE a, b, c IN ACCESS EXCLUSIVE MODE")
        assert Migrator(read_only, three).pending() == []


def test_uid_without_passwd_entry_can_migrate(
    empty_database: str, three: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown_user() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr(getpass, "getuser", unknown_user)
    assert len(Migrator(empty_database, three).migrate()) == 3
    assert str(one(empty_database, "SELECT DISTINCT username FROM _yoyo_log")).startswith("uid ")


def test_search_path_of_connection_decides_schema(empty_database: str, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute('CREATE SCHEMA "My Schema"')
    inside = make_conninfo(empty_database, options=r'-csearch_path="My\ Schema"')
    Migrator(inside, three).migrate()
    assert tables(inside) == ["a", "b", "c"]
    assert tables(empty_database) == []
    assert one(empty_database, "SELECT to_regclass('_yoyo_migration')") is None
    assert Migrator(empty_database, three).pending() == ["0001_a", "0002_b", "0003_c"]
    assert Migrator(inside, three).pending() == []

    nowhere = make_conninfo(empty_database, options="-csearch_path=nowhere")
    with pytest.raises(MigrationError, match=r"no schema of the search path \(nowhere\) exists"):
        Migrator(nowhere, three).migrate()


def test_two_schemas_end_with_same_catalog(empty_database: str) -> None:
    with connected(empty_database) as conn:
        conn.execute("CREATE SCHEMA tenant")
    inside = make_conninfo(empty_database, options="-csearch_path=tenant")
    Migrator(inside).migrate()
    Migrator(empty_database).migrate()
    assert_same(catalog_of(empty_database), catalog_of(inside), "in a schema of another name")


def test_role_without_rights_gets_plain_error(empty_database: str, three: Path) -> None:
    with connected(empty_database) as conn:
        conn.execute("DROP ROLE IF EXISTS nexgent_test_reader")
        conn.execute("CREATE ROLE nexgent_test_reader")
    as_reader = make_conninfo(empty_database, options="-crole=nexgent_test_reader")
    try:
        with pytest.raises(MigrationError, match="permission denied for schema public") as caught:
            Migrator(as_reader, three).migrate()
        assert caught.value.sqlstate == "42501"
    finally:
        with connected(empty_database) as conn:
            conn.execute("DROP ROLE nexgent_test_reader")


def test_role_with_create_on_schema_migrates_and_rolls_back(empty_database: str) -> None:
    """The role is no superuser, does not own the database, and may only connect to it."""
    with connected(empty_database) as conn:
        conn.execute("DROP ROLE IF EXISTS nexgent_test_migrator")
        conn.execute("CREATE ROLE nexgent_test_migrator NOSUPERUSER NOCREATEDB NOCREATEROLE")
        conn.execute("GRANT USAGE, CREATE ON SCHEMA public TO nexgent_test_migrator")
    migrator = Migrator(make_conninfo(empty_database, options="-crole=nexgent_test_migrator"))
    try:
        names = migrator.migrate()
        assert migrator.pending() == []
        owners = "SELECT array_agg(DISTINCT tableowner) FROM pg_tables WHERE schemaname = 'public'"
        assert one(empty_database, owners) == ["nexgent_test_migrator"]
        assert migrator.rollback(len(names)) == names[::-1]
    finally:
        with connected(empty_database) as conn:
            conn.execute("DROP OWNED BY nexgent_test_migrator; DROP ROLE nexgent_test_migrator")


def test_schema_of_url_is_migrated(empty_database: str, three: Path) -> None:
    """The public system's DATABASE_URL has ``?schema=``, which libpq refuses."""
    with connected(empty_database) as conn:
        conn.execute('CREATE SCHEMA "Ten ant"')
    inside = Settings.from_url(f"{url_of(empty_database)}&schema=Ten%20ant").conninfo
    assert len(Migrator(inside, three).migrate()) == 3
    assert tables(inside) == ["a", "b", "c"]
    assert tables(empty_database) == []


def test_first_writable_host_is_migrated(empty_database: str, three: Path, tmp_path: Path) -> None:
    parts = conninfo_to_dict(empty_database)
    several = make_conninfo(empty_database, host=f"{tmp_path},{parts['host']}", port=f"1,{parts['port']}")
    assert len(Migrator(several, three).migrate()) == 3
    url = f"postgresql:///{parts['dbname']}?" + urlencode(
        {"user": parts["user"], "host": f"{tmp_path},{parts['host']}", "port": f"1,{parts['port']}"}
    )
    assert Migrator(Settings.from_url(url).conninfo, three).pending() == []
    read_only = make_conninfo(several, options="-cdefault_transaction_read_only=on")
    with pytest.raises(DatabaseUnavailable, match="session is read-only"):
        Migrator(read_only, three).migrate()


NOT_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
IN_A_FOLDER = """
import sys
from pathlib import Path
from nexgent_db import resources
assert "utf" not in sys.stdout.encoding.lower(), sys.stdout.encoding
resources._PACKAGE = Path(sys.argv.pop(1))
from nexgent_db.cli import main
main()
"""


def test_locale_that_is_not_utf8_changes_nothing(
    empty_database: str, write: Write, folder: Path, tmp_path: Path
) -> None:
    """Characters that the stream cannot encode are escaped."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "_migrations").symlink_to(folder)
    (tmp_path / "package" / "_sql").symlink_to(CHECKOUT / "sql")
    write("0001_a", "CREATE TABLE a AS SELECT 'Zoë €'::text AS n;\nDO $$ BEGIN RAISE NOTICE 'größer'; END $$;")

    def run(command: str, **environ: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", IN_A_FOLDER, str(tmp_path / "package"), command],
            env=os.environ | NOT_UTF8 | environ | {"DATABASE_URL": empty_database, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return (done.stdout + done.stderr).decode(environ.get("PYTHONIOENCODING", "utf-8"))

    assert "'Zoë €'" in run("plan")
    assert "'Zoë \\u20ac'" in run("plan", PYTHONIOENCODING="latin-1")
    assert "NOTICE: größer" in run("migrate")
    assert "0001_a" in run("status")
    assert one(empty_database, "SELECT n FROM a") == "Zoë €"
    assert one(empty_database, "SELECT content FROM _nexgent_migration") == (folder / "0001_a.sql").read_text("utf-8")


def test_no_error_repeats_password(tmp_path: Path, three: Path) -> None:
    unreachable = make_conninfo(host=str(tmp_path), user="me", password="s3cret", dbname="db")
    with pytest.raises(DatabaseUnavailable, match="cannot connect as me at ") as caught:
        Migrator(unreachable, three).migrate()
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}{Migrator(unreachable, three)!r}"
    for malformed in ("host=h password=s3cret x", "postgresql://me:s3cret%ZZ@h/db", "postgresql://me:a@s3cret@h/db"):
        with pytest.raises(ConfigurationError) as malformed_caught:
            Migrator(malformed, three)
        assert "s3cret" not in str(malformed_caught.value)
        assert malformed_caught.value.__cause__ is None


def test_role_that_does_not_exist_is_authentication_error(empty_database: str, three: Path) -> None:
    with pytest.raises(AuthenticationFailed):
        Migrator(make_conninfo(empty_database, user="nexgent_nobody", password="s3cret"), three).status()


# --- Beside plain yoyo --------------------------------------------------------------------------


def yoyo(command: str, conninfo: str, directory: Path) -> str:
    done = subprocess.run(yoyo_command(command, conninfo, directory), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def yoyo_list(conninfo: str, directory: Path) -> dict[str, bool]:
    rows = re.findall(r"^([AU])\s+(\S+)", yoyo("list", conninfo, directory), re.MULTILINE)
    return {name: state == "A" for state, name in rows}


def test_yoyo_list_agrees(empty_database: str) -> None:
    migrator = Migrator(empty_database)
    for to in ("20251220051448_add_agent_balance_snapshots", LAST_LEGACY_MIGRATION):
        migrator.migrate(to=to)
        assert yoyo_list(empty_database, migrator.directory) == {
            s.name: s.applied_at is not None for s in migrator.status()
        }
    migrator.rollback(5)
    assert yoyo_list(empty_database, migrator.directory) == {
        s.name: s.applied_at is not None for s in migrator.status()
    }


def test_migrations_applied_by_yoyo_count_as_applied(empty_database: str, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for name in ("a", "b"):
        (plain / f"000_{name}.sql").write_text(f"CREATE TABLE {name} (n int);")
        (plain / f"000_{name}.rollback.sql").write_text(f"DROP TABLE {name};")
    yoyo("apply", empty_database, plain)
    migrator = Migrator(empty_database, plain)
    assert migrator.pending() == []
    assert migrator.rollback() == ["000_b"]
    yoyo("apply", empty_database, plain)
    assert migrator.rollback(2) == ["000_b", "000_a"]
    assert yoyo_list(empty_database, plain) == {"000_a": False, "000_b": False}


def test_plain_yoyo_and_migrator_accept_each_others_migrations(
    empty_database: str, three: Path, tmp_path: Path
) -> None:
    plain = shutil.copytree(three, tmp_path / "plain")  # yoyo takes brackets for a pattern
    migrator = Migrator(empty_database, plain)
    migrator.migrate()
    yoyo("apply", empty_database, plain)
    assert log_of(empty_database) == ["apply 0001_a", "apply 0002_b", "apply 0003_c"]
    (plain / "0004_d.sql").write_text("CREATE TABLE d (n int);")
    (plain / "0004_d.rollback.sql").write_text("DROP TABLE d;")
    yoyo("apply", empty_database, plain)
    assert migrator.migrate() == []
    assert tables(empty_database) == ["a", "b", "c", "d"]
    yoyo("rollback", empty_database, plain)
    assert migrator.pending() == ["0004_d"]  # yoyo undoes one
    assert tables(empty_database) == ["a", "b", "c"]
