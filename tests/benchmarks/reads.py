"""Reading through the repositories beside the same statements on bare psycopg."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import psycopg
from psycopg import RawCursor
from psycopg_pool import ConnectionPool

from nexgent_db import Database
from nexgent_db.models import SOL_MINT
from nexgent_db.observe._event import Hooks
from nexgent_db.sync._observed import ObservedSession
from nexgent_db.sync.repositories.positions import PositionRepository
from tests.benchmarks.result import Result, interleaved, medians
from tests.integration.sync.factories import Owner, new_owner

_POSITIONS = 1000
_CONNECTIONS = 12


def run(url: str) -> Iterator[Result]:
    """One position by its id; a thousand positions of an agent."""
    with Database(url) as db, psycopg.connect(url, autocommit=True) as plain:
        owner = _owner_of_positions(db)
        plain.execute("ANALYZE")
        position_id = db.positions.list_by_agent(owner.agent_id, limit=1)[0].id
        thousand = _thousand(db, plain, owner)
    yield from _one(url, position_id)
    yield thousand


def _owner_of_positions(db: Database) -> Owner:
    owner = new_owner(db)
    with db.transaction() as tx:
        tx.trades.deposit(owner.deposit("1000", SOL_MINT))
        for number in range(_POSITIONS):
            tx.trades.buy(owner.buy("0.123456789", "1234567.654321", f"Token{number:039}", take_profit_levels=4))
    return owner


def _one(url: str, position_id: UUID) -> Iterator[Result]:
    # Which processor a connection's server process shares with its client is luck, and weighs more than the
    # differences that are looked for: so everybody gets new connections, many times.
    times = medians(*(_one_connected_anew(url, position_id) for _ in range(_CONNECTIONS)))
    ours = times["ours"] * 1e6
    name = "find_by_id"
    yield Result(name=f"{name}, beside psycopg", ours=ours, unit="µs", baseline=times["bare"] * 1e6, at_most=1.3)
    yield Result(name=f"{name}, beside psycopg_pool", ours=ours, unit="µs", baseline=times["pool"] * 1e6)
    yield Result(name=f"{name}, beside RawCursor", ours=ours, unit="µs", baseline=times["raw"] * 1e6)
    yield Result(name=f"{name} with a hook, beside without", ours=times["hooked"] * 1e6, unit="µs", baseline=ours)


def _one_connected_anew(url: str, position_id: UUID) -> dict[str, list[float]]:
    raw = PositionRepository.queries["find_by_id"].call((position_id,), {}).text
    formatted = raw.replace(b"$1", b"%s")
    with (
        Database(url) as db,
        psycopg.connect(url, autocommit=True) as plain,
        psycopg.connect(url, autocommit=True) as plain_raw,
        ConnectionPool(url, min_size=1, max_size=10, kwargs={"autocommit": True}) as pool,
    ):

        def through_pool() -> object:
            with pool.connection() as connection:
                return connection.execute(formatted, (position_id,)).fetchone()

        hooked = PositionRepository(ObservedSession(db.positions._session, Hooks(lambda _: None), in_block=False))
        return interleaved(
            {
                "ours": lambda: db.positions.find_by_id(position_id),
                "hooked": lambda: hooked.find_by_id(position_id),  # of the same pool: so of the same connection
                "bare": lambda: plain.execute(formatted, (position_id,)).fetchone(),
                "raw": lambda: RawCursor(plain_raw).execute(raw, (position_id,)).fetchone(),
                "pool": through_pool,
            },
            rounds=5,
            calls=200,
        )


def _thousand(db: Database, plain: psycopg.Connection, owner: Owner) -> Result:
    call = PositionRepository.queries["list_by_agent"].call((owner.agent_id, None, _POSITIONS), {})
    numbered = call.text
    for number in range(1, len(call.values) + 1):
        numbered = numbered.replace(b"$%d" % number, b"%s")
    assert len(db.positions.list_by_agent(owner.agent_id)) == _POSITIONS
    taken = interleaved(
        {
            "ours": lambda: db.positions.list_by_agent(owner.agent_id, limit=_POSITIONS),
            "bare": lambda: plain.execute(numbered, call.values).fetchall(),
        },
        rounds=31,
        calls=5,
    )
    times = medians(taken)
    return Result(
        name=f"{_POSITIONS} positions", ours=times["ours"] * 1e3, unit="ms", baseline=times["bare"] * 1e3, at_most=1.4
    )
