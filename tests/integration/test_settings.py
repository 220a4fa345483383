"""Sessions have the settings that DATABASE_URL asks for."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from nexgent_db import AsyncDatabase
from nexgent_db.settings import parse_database_url


def url_of(conninfo: str, query: str) -> str:
    """The same database as a URL, everything percent-encoded."""
    parts = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    database = quote(parts.pop("dbname"), safe="")
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in parts.items())
    return f"postgresql:///{database}?{given}&{query}"


def ask(conninfo: str, question: str) -> Any:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


NAMES = [
    "public",
    "UPPER case",
    "two  spaces",
    'quo"te',
    "it's",
    "back\\slash",
    "\\",
    "a,b",
    "a;b",
    "$users",
    "ünïcode",
    "tab\there",
    "new\nline",
    "-cstatement_timeout=1",
    "a -cstatement_timeout=1",
    "a\t-cstatement_timeout=1",
    "100%",
    "a+b",
    "a&b=c",
    "#?/@:",
    "select",
    "x" * 63,
    "é" * 31,
]


@pytest.mark.parametrize("name", NAMES)
def test_schema_of_url_is_current_schema_for_any_name(empty_database: str, name: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    conninfo = parse_database_url(url_of(empty_database, f"schema={quote(name, safe='')}"))
    assert ask(conninfo, "SELECT current_schema()") == name
    assert ask(conninfo, "SHOW statement_timeout") == "0"


def test_other_options_apply_beside_schema(empty_database: str) -> None:
    query = "options=-cwork_mem%3D1MB&schema=pg_catalog&application_name=a%2Bb+c"
    conninfo = parse_database_url(url_of(empty_database, query))
    assert ask(conninfo, "SHOW work_mem") == "1MB"
    assert ask(conninfo, "SELECT current_schema()") == "pg_catalog"
    assert ask(conninfo, "SHOW application_name") == "a+b+c"


@pytest.mark.parametrize("password", ["plain", "sp ace", "%2F", "a'b\\c", "@:/?#[]&=+", "é😀", "\t\n"])
def test_role_connects_with_any_password(empty_database: str, password: str) -> None:
    """Trust authentication may accept any password: the test shows that the rest of the URL is parsed correctly."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(empty_database).items()}
    url = (
        f"postgresql://{parts['user']}:{quote(password, safe='')}@/{parts['dbname']}"
        f"?host={parts['host']}&port={parts['port']}&schema=pg_catalog"
    )
    if "password" in parts:
        pytest.skip("the server of DATABASE_URL asks for a password")
    assert conninfo_to_dict(parse_database_url(url))["password"] == password
    assert ask(parse_database_url(url), "SELECT current_schema()") == "pg_catalog"


async def test_session_has_settings_of_variables(empty_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", url_of(empty_database, "schema=My+Schema&options=-clock_timeout%3D7s"))
    monkeypatch.setenv("NEXGENT_DB_STATEMENT_TIMEOUT_S", "1.5")
    monkeypatch.setenv("NEXGENT_DB_LOCK_TIMEOUT_S", "3")
    monkeypatch.setenv("NEXGENT_DB_IDLE_IN_TRANSACTION_TIMEOUT_S", "2147483")
    expected = {
        "statement_timeout": "1500ms",
        "lock_timeout": "7s",  # what the URL itself asks for wins
        "idle_in_transaction_session_timeout": "2147483s",
        "search_path": '"My Schema"',
        "TimeZone": "UTC",
        "application_name": "nexgent-db",
    }
    async with AsyncDatabase.from_env() as db, db.transaction() as tx:
        for name, value in expected.items():
            cursor = await tx._connection.execute(f"SHOW {name}".encode())
            assert await cursor.fetchone() == (value,)


def test_missing_schema_is_not_current(empty_database: str) -> None:
    conninfo = parse_database_url(url_of(empty_database, f"schema={uuid4()}"))
    assert ask(conninfo, "SELECT current_schema()") is None
