"""Databases of other locales: case is folded alike in each, so money can be deposited and users are found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, Settings
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.contract import all_sources, check
from nexgent_db.contract._functions import check_functions
from nexgent_db.errors import EmailTaken
from nexgent_db.migrations import Migrator
from nexgent_db.schema.introspect import read_catalog
from tests.integration.sync.factories import TOKEN, new_owner
from tests.support.oracles.state import broken_rules
from tests.support.servers.localized import (
    DEBIAN,
    LocalizedServer,
    localized_server,
    why_no_debian_server,
    why_no_locales,
)

LIBC: Final = ("tr_TR.UTF-8", "az_AZ.UTF-8", "lt_LT.UTF-8", "de_DE.UTF-8", "en_US.UTF-8")
DATABASES: Final = {
    **{name: f"ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE '{name}'" for name in LIBC},
    "icu tr-TR": "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C'",
    "icu lt": "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'lt' LOCALE 'C'",
    "icu ignoring case": "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'und-u-ks-level2' LOCALE 'C'",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, LocalizedServer]]:
    """The embedded server for libc's locales, Debian's for ICU's."""
    with ExitStack() as stack:
        found = {}
        if why_no_locales() is None:
            found["libc"] = stack.enter_context(localized_server(*LIBC))
        if why_no_debian_server() is None:
            found["icu"] = stack.enter_context(localized_server(programs=DEBIAN))
        yield found


@pytest.fixture(scope="module", params=list(DATABASES))
def url(request: pytest.FixtureRequest, servers: dict[str, LocalizedServer]) -> Iterator[str]:
    """A migrated database of the locale."""
    provider = "icu" if "icu" in request.param else "libc"
    if provider not in servers:
        pytest.skip(str(why_no_debian_server() if provider == "icu" else why_no_locales()))
    with servers[provider].database(DATABASES[request.param]) as database:
        Migrator(database).migrate()
        yield database


def test_locale_folds_letters_in_its_own_way(servers: dict[str, LocalizedServer]) -> None:
    """Else the tests below would prove nothing."""
    for provider, name in (("libc", "tr_TR.UTF-8"), ("icu", "icu tr-TR")):
        if provider in servers:
            with servers[provider].database(DATABASES[name]) as database, psycopg.connect(database) as connection:
                assert connection.execute("SELECT lower('DEPOSIT')").fetchone() == ("deposıt",)


def test_user_is_found_in_any_case(url: str) -> None:
    with Database(url) as db:
        user = db.users.create("INFO@Example.org")
        for email in ("info@example.org", "Info@EXAMPLE.ORG", "INFO@Example.org"):
            assert db.users.find_by_email(email) == user
            with pytest.raises(EmailTaken):
                db.users.create(email)


def test_every_trade_is_possible(url: str) -> None:
    with Database(url) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("100"))
        db.trades.buy(owner.buy("10", "1000"))
        db.trades.dca_buy(owner.dca_buy("10", "1000"))
        db.trades.take_profit(owner.take_profit("500", "8"))
        db.trades.sell(owner.sell("1500", "30"))
        db.trades.buy(owner.buy("1", "10"))
        db.trades.write_off(owner.write_off())
        db.trades.withdraw(owner.withdraw("1"))
        db.trades.burn(owner.burn("1"))
        db.trades.reset_wallet(owner.reset())
        assert db.positions.list_by_agent(owner.agent_id) == []
    assert broken_rules(url) == {}


def test_token_is_found_in_any_case_in_cache_and_database(url: str, redis_url: str) -> None:
    token = "IİıiTOKEN" + "A" * 30
    settings = Settings.from_url(url, {"REDIS_URL": redis_url, "NEXGENT_DB_CACHE_PREFIX": f"{uuid4().hex}:"})
    with Database(settings) as db:
        owner = new_owner(db)
        db.trades.deposit(owner.deposit("10"))
        for each in (token, TOKEN):
            position = db.trades.buy(owner.buy("1", "10", each)).position
            assert position is not None
            asked = "".join(letter.lower() if letter.isascii() else letter for letter in each)
            assert [row.id for row in db.cache.positions_of_token(asked)] == [position.id]


def test_every_query_and_function_is_proven(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        assert [str(problem) for problem in check(connection, all_sources(Repository)).problems] == []
        assert [str(problem) for problem in check_functions(connection).problems] == []


def test_catalog_is_the_same(url: str, database_url: str) -> None:
    with psycopg.connect(url) as connection, psycopg.connect(database_url) as other:
        assert read_catalog(connection).indexes == read_catalog(other).indexes


def test_duplicate_addresses_are_found_before_migration(servers: dict[str, LocalizedServer]) -> None:
    """``I`` and ``i`` are one letter, as the index has it."""
    if "libc" not in servers:
        pytest.skip(str(why_no_locales()))
    with servers["libc"].database(DATABASES["tr_TR.UTF-8"]) as database:
        migrator = Migrator(database)
        names = [state.name for state in migrator.status()]
        migrator.migrate(to=next(name for name in reversed(names) if name < "20261123"))
        with psycopg.connect(database) as connection:
            for number, email in enumerate(("INFO@example.org", "info@example.org")):
                connection.execute(
                    "INSERT INTO users (id, email) VALUES (%s, %s)", [f"{number:08}-0000-4000-8000-000000000000", email]
                )
        with pytest.raises(Exception, match="rows") as refused:
            migrator.migrate()
        assert "users_lower_email_key" in f"{refused.value}{getattr(refused.value, 'details', '')}"


def test_programs_of_this_module_are_installed_by_ci() -> None:
    assert "locales" in (Path(__file__).parents[2] / ".ci" / "run").read_text()
