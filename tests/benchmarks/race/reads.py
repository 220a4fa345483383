"""Reads: one row, lists, a page, a summary, a stream; and the same over a link with a delay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final

import psycopg

from nexgent_db.models import AgentPosition, AgentTransaction, Performance, TransactionFilter
from nexgent_db.models.base import Row
from nexgent_db.models.pages import BeforeUuid
from nexgent_db.sync.repositories.performance import PerformanceRepository
from nexgent_db.sync.repositories.positions import PositionRepository
from nexgent_db.sync.repositories.transactions import TransactionRepository
from tests.benchmarks.race import alchemy, drivers
from tests.benchmarks.race.arena import Library
from tests.benchmarks.race.contest import Check, Contender, Items, Turn, Workload, on_a_loop, one_by_one
from tests.benchmarks.race.link import DELAY_S, link
from tests.benchmarks.race.texts import Statement, of_query

try:
    import sqlalchemy as sa
except ImportError:
    sa = None

_WARM: Final = 12
"""Calls before those that count: by then every client has prepared its statement, and the server has chosen a plan."""
_PAGE: Final = 100
_DEEP: Final = 10
"""The page is behind nine tenths of the rows."""
_FAR: Final = f"{DELAY_S * 2000:g} ms link"

NAMES: Final = (
    "one row",
    "20 rows",
    "1,000 rows",
    "a page deep in a million rows",
    "a filtered list",
    "a summary over 100,000 swaps",
    "a stream of 200,000 rows",
    f"one row, {_FAR}",
    f"20 rows, {_FAR}",
)


@dataclass(frozen=True, kw_only=True)
class _Read:
    """A read for all contenders: by our method, by its statement, and as SQLAlchemy builds it."""

    name: str
    calls: int
    rows: int
    ours: Callable[[Any, Any], Any]
    statement: Statement
    model: type[Row]
    one: bool = False
    peers: dict[str, Callable[[], Contender]] = field(default_factory=dict)

    def workload(self, url: str, name: str | None = None, calls: int | None = None) -> Workload:
        """The read at this URL, by everybody."""
        calls = calls or self.calls
        one, statement = self.one, self.statement
        contenders = {
            "ours": one_by_one(drivers.ours(self.ours)),
            "ours async": on_a_loop(drivers.ours_async(self.ours)),
            "psycopg": one_by_one(drivers.psycopg_read(statement, one=one)),
            "psycopg class_row": one_by_one(
                drivers.psycopg_class_row(statement, list(self.model.model_fields), one=one)
            ),
            "psycopg async": on_a_loop(drivers.psycopg_async_read(statement, one=one)),
        }
        if drivers.HAS_ASYNCPG:
            contenders["asyncpg"] = on_a_loop(drivers.asyncpg_read(statement, one=one))
        if alchemy.HAS_SQLALCHEMY:
            contenders |= {name: make() for name, make in self.peers.items()}
        if drivers.HAS_AIOSQL:
            contenders["aiosql"] = one_by_one(drivers.aiosql_read(statement, one=one))
        return Workload(
            name=name or self.name,
            contenders=contenders,
            items=lambda: Items(url, [None] * _WARM, [None] * calls),
            check=_has_rows(None if one else self.rows),
        )


def workloads(library: Library, around: ExitStack) -> Iterator[Workload]:
    """All reads."""
    one = _one_row(library)
    yield _with_pool_and_hook(one.workload(library.url), library)
    for read in (_positions(library, 20), _positions(library, 1000), _deep_page(library), _filtered(library)):
        yield read.workload(library.url)
    yield _summary(library).workload(library.url)
    yield _stream(library)
    far = around.enter_context(link(library.url))
    yield one.workload(far, f"one row, {_FAR}", library.scale.calls(30))
    yield _positions(library, 20).workload(far, f"20 rows, {_FAR}", library.scale.calls(30))


def _has_rows(rows: int | None) -> Check:
    def check(items: Items, turn: Turn) -> None:
        assert turn.result is not None
        assert rows is None or len(turn.result) == rows, turn.result  # type: ignore[arg-type]

    return check


def _one_row(library: Library) -> _Read:
    position_id = library.position_id
    return _Read(
        name="one row",
        calls=library.scale.calls(400),
        rows=1,
        one=True,
        ours=lambda db, _: db.positions.find_by_id(position_id),
        statement=of_query(PositionRepository, "find_by_id", position_id),
        model=AgentPosition,
        peers={
            "SQLAlchemy Core": lambda: one_by_one(
                alchemy.core_read("agent_positions", lambda t, c: sa.select(t).where(c.id == position_id), one=True)
            ),
            "SQLAlchemy ORM": lambda: one_by_one(alchemy.orm_get("position", position_id)),
        },
    )


def _with_pool_and_hook(workload: Workload, library: Library) -> Workload:
    """One row, also through psycopg's own pool, and by us with a hook that observes each query."""

    more = {
        "ours, hooked": one_by_one(
            drivers.ours(lambda db, _: db.positions.find_by_id(library.position_id), on_query=lambda _: None)
        )
    }
    if drivers.HAS_POOL:
        statement = of_query(PositionRepository, "find_by_id", library.position_id)
        more["psycopg pool"] = one_by_one(drivers.psycopg_pool_read(statement))
    return replace(workload, contenders={**workload.contenders, **more})


def _listing(
    table: str, entity: str, condition: Callable[[Any], Any], time: str, limit: int
) -> dict[str, Callable[[], Contender]]:
    """A list, newest first, by Core and ORM."""

    def build(t: Any, c: Any) -> Any:
        order = (getattr(c, time).desc(), c.id.desc())
        return sa.select(t).where(*condition(c)).order_by(*order).limit(limit)

    return {
        "SQLAlchemy Core": lambda: one_by_one(alchemy.core_read(table, build, one=False)),
        "SQLAlchemy ORM": lambda: one_by_one(alchemy.orm_read(entity, build)),
    }


def _positions(library: Library, number: int) -> _Read:
    agent_id = (library.twenty if number == 20 else library.thousand).agent_id
    return _Read(
        name=f"{number:,} rows",
        calls=library.scale.calls(150 if number == 20 else 8),
        rows=number if number == 20 else library.scale.rows(number, least=20),
        ours=lambda db, _: db.positions.list_by_agent(agent_id),
        statement=of_query(PositionRepository, "list_by_agent", agent_id),
        model=AgentPosition,
        peers=_listing("agent_positions", "position", lambda c: (c.agent_id == agent_id,), "created_at", 1000),
    )


def _deep_page(library: Library) -> _Read:
    agent_id = library.large.agent_id
    moment = library.time_of(library.transactions // _DEEP + 1)
    before = BeforeUuid(before_time=moment, before_id=library.id_at(moment))
    everything = TransactionFilter()

    def behind(c: Any) -> Any:
        return c.agent_id == agent_id, sa.tuple_(c.transaction_time, c.id) < sa.tuple_(moment, before.before_id)

    return _Read(
        name="a page deep in a million rows",
        calls=library.scale.calls(40),
        rows=_PAGE,
        ours=lambda db, _: db.transactions.list_by_agent(agent_id, everything, before, _PAGE),
        statement=of_query(TransactionRepository, "list_by_agent", agent_id, everything, before, _PAGE),
        model=AgentTransaction,
        peers=_listing("agent_transactions", "transaction", behind, "transaction_time", _PAGE),
    )


def _filtered(library: Library) -> _Read:
    agent_id = library.large.agent_id
    chosen = TransactionFilter(
        transaction_type="SWAP", is_take_profit=True, time_to=library.time_of(library.transactions // 2)
    )

    def condition(c: Any) -> Any:
        return (
            c.agent_id == agent_id,
            c.transaction_type == "SWAP",
            c.is_take_profit.is_(True),
            c.transaction_time <= chosen.time_to,
        )

    rows = min(_PAGE, library.transactions // 2 // 20)
    return _Read(
        name="a filtered list",
        calls=library.scale.calls(20),
        rows=rows,
        ours=lambda db, _: db.transactions.list_by_agent(agent_id, chosen, limit=rows),
        statement=of_query(TransactionRepository, "list_by_agent", agent_id, chosen, BeforeUuid(), rows),
        model=AgentTransaction,
        peers=_listing("agent_transactions", "transaction", condition, "transaction_time", rows),
    )


def _summary(library: Library) -> _Read:
    agent_id = library.large.agent_id
    statement = of_query(PerformanceRepository, "summarise", agent_id)
    return _Read(
        name="a summary over 100,000 swaps",
        calls=library.scale.calls(4),
        rows=1,
        one=True,
        ours=lambda db, _: db.performance.summarise(agent_id),
        statement=statement,
        model=Performance,
        peers={"SQLAlchemy Core": lambda: one_by_one(alchemy.core_text(statement.text.named, statement.values))},
    )


# --- A stream -------------------------------------------------------------------------------------


def _stream(library: Library) -> Workload:
    rows = library.scale.rows(200_000)
    agent_id, until = library.large.agent_id, library.time_of(rows)
    chosen = TransactionFilter(time_to=until)
    statement = of_query(TransactionRepository, "stream_by_agent", agent_id, chosen)

    def ours(db: Any, _: Any) -> object:
        return sum(1 for _row in db.transactions.stream_by_agent(agent_id, chosen))

    async def ours_async(db: Any, _: Any) -> object:
        found = 0
        async for _row in db.transactions.stream_by_agent(agent_id, chosen):
            found += 1
        return found

    def by_cursor(connection: psycopg.Connection[Any]) -> object:
        with connection.transaction(), connection.cursor("stream") as cursor:
            cursor.itersize = drivers.STREAM_ROWS
            cursor.execute(statement.text.pyformat.encode(), statement.values)
            return sum(1 for _row in cursor)

    def build(t: Any, c: Any) -> Any:
        chosen_rows = sa.select(t).where(c.agent_id == agent_id, c.transaction_time <= until)
        return chosen_rows.order_by(c.transaction_time.desc(), c.id.desc())

    contenders = {
        "ours": one_by_one(drivers.ours(ours)),
        "ours async": on_a_loop(drivers.ours_async(ours_async)),
        "psycopg": one_by_one(drivers.psycopg_connected(by_cursor)),
    }
    if drivers.HAS_ASYNCPG:
        contenders["asyncpg"] = on_a_loop(drivers.asyncpg_stream(statement))
    if alchemy.HAS_SQLALCHEMY:
        contenders["SQLAlchemy Core"] = one_by_one(alchemy.core_stream("agent_transactions", build))
        contenders["SQLAlchemy ORM"] = one_by_one(alchemy.orm_stream("transaction", build))

    def check(items: Items, turn: Turn) -> None:
        assert turn.result == rows, turn.result

    return Workload(
        name="a stream of 200,000 rows",
        contenders=contenders,
        items=lambda: Items(library.url, [], [None]),
        check=check,
        per=rows,
        note="a row",
    )
