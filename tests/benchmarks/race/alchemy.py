"""SQLAlchemy's Core and ORM on psycopg, as its documentation has them: engine, ``Session`` and mapped classes.

The tables are reflected, so that a migration needs no change here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.benchmarks.race.contest import Client
from tests.benchmarks.race.drivers import STREAM_ROWS

try:
    import sqlalchemy as sa
    from sqlalchemy import orm
except ImportError:
    sa = None

HAS_SQLALCHEMY: Final = sa is not None

Build = Callable[[Any, Any], Any]
"""A SELECT of an entity, a table or a mapped class, and of what has its columns as attributes."""


@contextmanager
def new_engine(url: str) -> Iterator[Any]:
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    try:
        yield engine
    finally:
        engine.dispose()


class _Mapped:
    """The tables of a database and a class for each that is used here."""

    def __init__(self, url: str) -> None:
        metadata = sa.MetaData()
        with new_engine(url) as engine:
            metadata.reflect(engine, only=_is_wanted)
        self.tables = metadata.tables

        class Base(orm.DeclarativeBase):
            pass

        class Transaction(Base):
            __table__ = self.tables["agent_transactions"]

        class Position(Base):
            __table__ = self.tables["agent_positions"]
            purchase = orm.relationship(Transaction)

        class Swap(Base):
            __table__ = self.tables["agent_historical_swaps"]
            sale = orm.relationship(Transaction, foreign_keys=[__table__.c.sale_transaction_id])

        class Balance(Base):
            __table__ = self.tables["agent_balances"]

        class Wallet(Base):
            __table__ = self.tables["agent_wallets"]

        class Agent(Base):
            __table__ = self.tables["agents"]

        class Signal(Base):
            __table__ = self.tables["trading_signals"]

        self.transaction: Any = Transaction
        self.position: Any = Position
        self.swap: Any = Swap
        self.balance: Any = Balance
        self.wallet: Any = Wallet
        self.agent: Any = Agent
        self.signal: Any = Signal
        self.request: Any = None
        if "race_requests" in self.tables:

            class Request(Base):
                __table__ = self.tables["race_requests"]

            self.request = Request


def _is_wanted(name: str, _: Any) -> bool:
    return name.startswith(("agent", "users", "trading_signals", "race_requests"))


@cache
def mapped(url: str) -> _Mapped:
    """The mapping of a database; it is reflected once."""
    return _Mapped(url)


# --- Reads ----------------------------------------------------------------------------------------


def core_read(table: str, build: Build, *, one: bool) -> Client:
    """``connection.execute(select(table))``, a connection of the engine's pool for each call."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        entity = mapped(url).tables[table]
        statement = build(entity, entity.c)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with engine.connect() as connection:
                    result = connection.execute(statement)
                    return result.one() if one else result.all()

            yield read

    return client


def core_text(statement: str, values: dict[str, Any]) -> Client:
    """One row of a textual statement."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        text = sa.text(statement)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with engine.connect() as connection:
                    return connection.execute(text, values).one()

            yield read

    return client


def orm_get(entity: str, row_id: UUID) -> Client:
    """``session.get(Class, id)``, a new session for each call."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        cls = getattr(mapped(url), entity)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with orm.Session(engine) as session:
                    return session.get(cls, row_id)

            yield read

    return client


def orm_read(entity: str, build: Build) -> Client:
    """``session.scalars(select(Class))``, a new session for each call."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        cls = getattr(mapped(url), entity)
        statement = build(cls, cls)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with orm.Session(engine) as session:
                    return session.scalars(statement).all()

            yield read

    return client


def core_stream(table: str, build: Build) -> Client:
    """``yield_per``, which uses a server-side cursor; the number of rows."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        entity = mapped(url).tables[table]
        statement = build(entity, entity.c)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with engine.connect() as connection:
                    result = connection.execution_options(yield_per=STREAM_ROWS).execute(statement)
                    return sum(1 for _row in result)

            yield read

    return client


def orm_stream(entity: str, build: Build) -> Client:
    """The same with mapped objects."""

    @contextmanager
    def client(url: str) -> Iterator[Callable[[Any], object]]:
        cls = getattr(mapped(url), entity)
        statement = build(cls, cls).execution_options(yield_per=STREAM_ROWS)
        with new_engine(url) as engine:

            def read(_: Any) -> object:
                with orm.Session(engine) as session:
                    return sum(1 for _row in session.scalars(statement))

            yield read

    return client


# --- Writes ---------------------------------------------------------------------------------------


@contextmanager
def core_bulk(url: str) -> Iterator[Callable[[Any], object]]:
    """``insert()`` with a list of rows and RETURNING: SQLAlchemy sends them in batches."""
    table = mapped(url).tables["trading_signals"]
    with new_engine(url) as engine:

        def insert(item: dict[str, Any]) -> object:
            with engine.begin() as connection:
                return len(connection.execute(sa.insert(table).returning(table), item["mappings"]).all())

        yield insert


@contextmanager
def orm_bulk(url: str) -> Iterator[Callable[[Any], object]]:
    """The same with mapped objects."""
    cls = mapped(url).signal
    with new_engine(url) as engine:

        def insert(item: dict[str, Any]) -> object:
            with orm.Session(engine) as session, session.begin():
                return len(session.scalars(sa.insert(cls).returning(cls), item["mappings"]).all())

        yield insert
