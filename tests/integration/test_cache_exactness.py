"""Every number from the cache equals the database's: sign, digits and exponent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.models import AgentBalance
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, new_owner

NUMBERS: Final = 100_000
AT_ONCE: Final = 1000


@pytest.fixture
def db(fresh_database_url: str, redis_url: str) -> Iterator[Database]:
    """A database of the test's own, with a cache in a Redis shared by the session."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        yield database


def numbers() -> list[Decimal]:
    """Numbers of every length that numeric(38,18) has, equally often, extremes included; the same in each run."""
    chance = random.Random(20261125)
    ends = [Decimal(text) for text in ("0", "1", "1e-18", "99999999999999999999.999999999999999999", "1e19")]
    drawn = [
        Decimal(f"{chance.randrange(10 ** chance.randint(1, 20))}.{chance.randrange(10 ** chance.randint(1, 18)):018}")
        for _ in range(NUMBERS - len(ends))
    ]
    return ends + drawn


def out_of_the_cache(db: Database, owner: Owner) -> list[AgentBalance]:
    """The cached answer. On a busy machine Redis may not answer in time: then it reads again."""
    for _ in range(20):
        db.cache._recovery.recover()
        hits = db.cache.metrics().hits
        rows = db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
        if db.cache.metrics().hits > hits:
            return rows
    raise AssertionError(f"never cached: {db.cache.metrics()}")


def test_100_000_decimals_are_cached_exactly(db: Database) -> None:
    owner: Owner = new_owner(db)
    cache_client: Any = db.cache._client
    given = numbers()
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        for first in range(0, NUMBERS, AT_ONCE):
            some = given[first : first + AT_ONCE]
            psql.execute("DELETE FROM agent_balances")
            with psql.cursor().copy(
                "COPY agent_balances (agent_id, wallet_address, token_address, token_symbol, balance) FROM STDIN"
            ) as copy:
                for number, balance in enumerate(some):
                    copy.write_row((owner.agent_id, owner.wallet_address, f"T{number:05}", "T", balance))
            psql.execute("DELETE FROM cache_outbox")
            cache_client.call("UNLINK", cache_client.keys.balances_of_wallet(owner.wallet_address) + ":complete")
            rows = out_of_the_cache(db, owner)
            stored = psql.execute("SELECT balance FROM agent_balances ORDER BY token_address").fetchall()
            assert [row.balance.as_tuple() for row in rows] == [balance.as_tuple() for (balance,) in stored]
            assert [row.balance for row in rows] == some
