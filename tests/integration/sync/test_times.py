# Generated from tests/integration/aio/test_times.py by `make sync`: do not edit.
"""Times outside of Python's calendar: no caller and no other program can store one, so every row can be read."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, get_args, get_type_hints
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from pydantic import AwareDatetime

from nexgent_db import Database
from nexgent_db.errors import BlockMisuse, CheckViolation, InvalidInput
from nexgent_db.models import TransactionFilter
from nexgent_db.models.base import Input
from tests.integration.sync.factories import Owner, balance_of, new_owner
from tests.integration.sync.test_tenants import METHODS, User
from tests.support.faults.unreadable import BEYOND, times_unchecked

WEST = timezone(timedelta(hours=-5))
EAST = timezone(timedelta(hours=5))


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    with Database(fresh_database_url) as database:
        yield database


@pytest.fixture
def trader(db: Database) -> Owner:
    """An agent with 100 SOL and a position of 10 tokens."""
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("101"))
    db.trades.buy(owner.buy("1", "10"))
    return owner


def test_every_stored_time_has_a_check(db: Database, fresh_database_url: str) -> None:
    """Of each table, but those that only the package itself reads and writes: their times are the server's clock."""
    with psycopg.connect(fresh_database_url) as connection:
        columns = connection.execute(
            "SELECT c.relname, a.attname, coalesce(pg_get_constraintdef(k.oid), '') FROM pg_attribute AS a"
            " JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'r'"
            " LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.conname = c.relname || '_times_check'"
            " WHERE c.relnamespace = 'public'::regnamespace AND a.atttypid = 'timestamptz'::regtype"
            " AND c.relname !~ '^_'"
        ).fetchall()
    assert len(columns) > 25
    unchecked = [(table, column) for table, column, check in columns if column not in check]
    assert [
        each for each in unchecked if each[0] not in ("cache_outbox", "cache_outbox_changes", "ledger_purges")
    ] == []


@pytest.mark.parametrize("value", BEYOND)
@pytest.mark.usefixtures("trader")
def test_other_programs_cannot_store_one(db: Database, fresh_database_url: str, value: str) -> None:
    columns = {"users": "locked_until", "agents": "updated_at", "agent_positions": "last_dca_time"}
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        for table, column in columns.items():
            statement = sql.SQL("UPDATE {} SET {} = {}").format(
                sql.Identifier(table), sql.Identifier(column), sql.Literal(value)
            )
            with pytest.raises(psycopg.errors.CheckViolation, match=f"{table}_times_check"):
                connection.execute(statement)
    assert len(db.users.list(limit=10)) == 1


def test_trade_over_such_a_row_changes_nothing(db: Database, trader: Owner, fresh_database_url: str) -> None:
    """A row of a time before its table had the check. The trade would be committed, and its result not be readable."""
    with psycopg.connect(fresh_database_url, autocommit=True) as connection:
        with times_unchecked(connection, "agent_positions"):
            connection.execute("UPDATE agent_positions SET last_dca_time = 'infinity'")
        with pytest.raises(CheckViolation) as refused:
            db.trades.take_profit(trader.take_profit("1", "1"))
        assert (refused.value.table, refused.value.constraint) == ("agent_positions", "agent_positions_times_check")
        assert balance_of(db, trader) == 100
        assert len(db.transactions.list_by_agent(trader.agent_id)) == 2
        connection.execute("UPDATE agent_positions SET last_dca_time = NULL")
    assert db.trades.take_profit(trader.take_profit("1", "1")).position is not None


# --- Every time that a caller can give ----------------------------------------------------------

BEYOND_CALENDAR: Final = (
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=WEST),
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=EAST),
    datetime(9999, 12, 31, tzinfo=EAST),
)
NOWHERE: Final = Database("dbname=nowhere")
"""Never opened: a call that sends something raises another error."""


@dataclass(frozen=True)
class Place:
    """A parameter of a method that is a time, or a field of the parameter's model that is one."""

    method: tuple[str, str]
    parameter: str
    model: type[Input] | None = None
    field: str = ""

    def __str__(self) -> str:
        return ".".join(filter(None, (*self.method, self.parameter, self.field)))

    def arguments(self, user: User, time: datetime) -> dict[str, Any]:
        """Those of a call with this time, and with what would be found for all others."""
        bound = inspect.signature(getattr(getattr(NOWHERE, self.method[0]), self.method[1])).bind(
            *METHODS[self.method](user)
        )
        return {**bound.arguments, self.parameter: self._with_time(bound.arguments.get(self.parameter), time)}

    def _with_time(self, given: Any, time: datetime) -> Any:
        if self.model is None:
            return time
        if isinstance(given, list):
            return [self._with_time(given[0], time)]
        if given is None:
            rest = {"before_id": uuid4()} if "before_id" in self.model.model_fields else {}
            return self.model.model_validate(rest | {self.field: time})
        return type(given).model_validate(dict(given) | {self.field: time})


def places() -> Iterator[Place]:
    for method in METHODS:
        hints = get_type_hints(getattr(type(getattr(NOWHERE, method[0])), method[1]), include_extras=True)
        del hints["return"]
        for parameter, hint in hints.items():
            kinds = kinds_of(hint)
            if kinds & TIMES:
                yield Place(method, parameter)
            for model in kinds:
                if issubclass(model, Input):
                    for field, info in model.model_fields.items():
                        if kinds_of(info.annotation) & TIMES:
                            yield Place(method, parameter, model, field)


TIMES: Final = {datetime, AwareDatetime}


def kinds_of(hint: Any) -> set[type[Any]]:
    """The classes that the annotation is made of."""
    own = {hint} if isinstance(hint, type) else set()
    return own.union(*map(kinds_of, get_args(hint)))


PLACES: Final = list(places())
STORED: Final = [each for each in PLACES if each.method[0] == "trades" or re.match("create|upsert", each.method[1])]
COMPARED: Final = [each for each in PLACES if each not in STORED]


@pytest.mark.parametrize("place", STORED, ids=str)
def test_time_beyond_calendar_is_refused_before_it_is_sent(place: Place) -> None:
    user = nobody()
    for time in BEYOND_CALENDAR:
        with pytest.raises(InvalidInput) as refused:
            called(NOWHERE, place, place.arguments(user, time))
        assert (place.field or place.parameter) in str(refused.value)
    with pytest.raises(BlockMisuse):  # another time is not refused
        called(NOWHERE, place, place.arguments(user, datetime.now(UTC) + timedelta(hours=1)))


def test_time_beyond_calendar_is_compared(db: Database, trader: Owner) -> None:
    """No row is so late or so early: as a bound it lets all of them through, or none."""
    user = replace(nobody(), owner=trader)
    for place in COMPARED:
        for time in BEYOND_CALENDAR:
            called(db, place, place.arguments(user, time))
    for time in BEYOND_CALENDAR:
        late = time.year > 2026
        for bound, passes in (
            (TransactionFilter(time_to=time), late),
            (TransactionFilter(time_from=time), not late),
        ):
            assert len(db.transactions.list_by_agent(trader.agent_id, bound)) == (2 if passes else 0)


def called(db: Database, place: Place, arguments: dict[str, Any]) -> object:
    call = getattr(getattr(db, place.method[0]), place.method[1])(**arguments)
    return [row for row in call] if place.method[1].startswith("stream_") else call


def test_times_are_of_every_kind() -> None:
    methods = {place.method for place in STORED}
    assert {method for method in METHODS if method[0] == "trades"} <= methods
    assert methods >= {("api_keys", "create"), ("balance_snapshots", "upsert"), ("balance_snapshots", "create_many")}
    assert {method[0] for method in (place.method for place in COMPARED)} == {
        "balance_snapshots", "historical_swaps", "performance", "positions", "signal_executions", "signals",
        "trade_requests", "transactions",
    }  # fmt: skip
    assert len(PLACES) > 60


def nobody() -> User:
    """A user that is in no database."""
    return User(
        owner=Owner(user_id=uuid4(), agent_id=uuid4(), wallet_address=f"W{uuid4().hex}"),
        email="nobody@example.org",
        position_id=uuid4(),
        transaction_id=uuid4(),
        swap_id=uuid4(),
        trade_id=uuid4(),
        signal_id=1,
        unclaimed_id=2,
        execution_id=uuid4(),
        key_id=uuid4(),
        secret="a secret",
        key_hash="its hash",
    )


@pytest.mark.parametrize(
    "time", [datetime(1, 1, 2, tzinfo=UTC), datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)]
)
def test_first_and_last_time_come_back(db: Database, trader: Owner, time: datetime) -> None:
    result = db.trades.deposit(trader.deposit("1", transaction_time=time))
    assert result.transaction.transaction_time == time
    assert time in [row.transaction_time for row in db.transactions.list_by_agent(trader.agent_id)]
