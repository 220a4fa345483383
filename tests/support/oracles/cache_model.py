"""Two services with a cache each, and a model of the committed states: which states may each read return?

The promise is one rule. The model has, for every row, the list of the committed states in order. A read may return any
of them that is not older than

- the last state that the reader's own process has acknowledged;
- the state whose version the reader passes as ``at_least``;
- the last state that any process has written to the cache, or that the database had when maintenance last finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import psycopg
import redis
from psycopg.rows import dict_row

from nexgent_db import Database
from nexgent_db.errors import BlockMisuse, DatabaseUnavailable, InvalidInput, NexgentError
from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.positions import AgentPosition
from nexgent_db.models.trading_config import stored_config
from nexgent_db.settings import Settings
from tests.support.faults.pause_points import Gate
from tests.support.servers.valkey_server import ValkeyServer

Key = tuple[str, ...]
State = dict[str, Any] | None
Changed = dict[Key, int]

PREFIX: Final = "machine:"
TOKENS: Final = ("TokenA", "tokena", "TokenB")
"""The first two share the key of their set."""
_POSITION: Final = ", ".join(AgentPosition.model_fields)
_BALANCE: Final = ", ".join(AgentBalance.model_fields)
_AGENT: Final = (
    "id, trading_mode, automated_trading_simulation, automated_trading_live,"
    " coalesce(trading_config, '{}')::text AS trading_config, version"
)


class _Probe:
    """Replaces the background: the state machine itself decides when to probe for Redis."""

    def start(self, *_: object, **__: object) -> None: ...

    def open(self) -> None: ...

    def close(self) -> None: ...


class Process:
    """A service with its own pool and cache, and the states that it has acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.sure: dict[Key, int] = {}
        self.db: Any = Database(settings)
        self._open()

    def _open(self) -> None:
        self.cache = self.db.cache
        self.cache._recovery._background = _Probe()
        self.db.open()
        self.cache_client = self.cache._client
        self.gate = Gate(self.cache_client)

    def start_again(self) -> None:
        """Restart the process: it has acknowledged nothing."""
        self.db.close()
        self.sure = {}
        self.db = Database(self._settings)
        self._open()

    def fail(self) -> None:
        """Stop using Redis until the next probe."""
        self.cache_client.breaker.fail("the machine says so", unapplied_write=True)


@dataclass
class Order:
    """A trade, and the rows that it changed."""

    name: str
    order: Any
    changed: Changed = field(default_factory=dict)


@dataclass
class World:
    """Two servers and their processes: made once, used by every example."""

    valkey: ValkeyServer
    psql: psycopg.Connection[Any]
    mortal: Database
    processes: list[Process]

    @cached_property
    def client(self) -> redis.Redis:
        """To look and to meddle."""
        return self.valkey.client()

    @classmethod
    @contextmanager
    def of(cls, database_url: str, valkey: ValkeyServer) -> Iterator[World]:
        """Everybody connected to the migrated database and the server."""
        settings = replace(
            Settings.from_url(database_url, {}), redis_url=valkey.url, cache_prefix=PREFIX, pool_max_size=4
        )
        with (
            psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as psql,
            Database(replace(settings, redis_url=None)) as mortal,
        ):
            psql.execute("SET TimeZone = 'UTC'")
            processes = [Process(settings), Process(settings)]
            try:
                yield cls(valkey, psql, mortal, processes)
            finally:
                for process in processes:
                    process.db.close()


class CacheModel:
    """All committed states of all rows, and which of them each read may return."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[Key, list[State]] = {}
        self.version = -1
        self.sure: dict[Key, int] = {}

    def _now(self, kind: str) -> list[dict[str, Any]]:
        """The rows of a kind that are there."""
        return [states[-1] for key, states in self.states.items() if key[0] == kind and states[-1] is not None]

    def _observe(self) -> Changed:
        """Record the current rows of the database; returns the rows whose state has changed, and its number."""
        psql = self.world.psql
        row = psql.execute("SELECT last_value FROM row_version_seq").fetchone()
        assert row is not None
        if row["last_value"] == self.version:
            return {}
        self.version = row["last_value"]
        found: dict[Key, dict[str, Any]] = {}
        with psql.pipeline():
            positions = psql.execute(f"SELECT {_POSITION} FROM agent_positions".encode())
            balances = psql.execute(f"SELECT {_BALANCE} FROM agent_balances".encode())
            agents = psql.execute(f"SELECT {_AGENT} FROM agents".encode())
        for row in positions.fetchall():
            found["position", str(row["id"])] = row
        for row in balances.fetchall():
            found["balance", str(row["agent_id"]), row["wallet_address"], row["token_address"]] = row
        for row in agents.fetchall():
            found["agent", str(row["id"])] = row
        changed: Changed = {}
        new_ones = sorted(found.keys() - self.states.keys(), key=lambda key: found[key]["version"])
        for key in [*self.states, *new_ones]:  # the same order every time
            states = self.states.setdefault(key, [None])
            new = found.get(key)
            if new != states[-1]:
                states.append(new)
                changed[key] = len(states) - 1
        return changed

    def _everybody_is_sure(self, changed: Changed | None = None) -> None:
        sure = {key: len(states) - 1 for key, states in self.states.items()} if changed is None else changed
        for key, index in sure.items():
            self.sure[key] = max(index, self.sure.get(key, 0))

    def _is_sure(self, process: Process, changed: Changed) -> None:
        for key, index in changed.items():
            process.sure[key] = max(index, process.sure.get(key, 0))

    # --- Allowed results ------------------------------------------------------------------------------

    def _judge(
        self,
        process: Process,
        what: str,
        found: Callable[[State], bool],
        key: Key,
        at_least: int = 0,
        known: Changed | None = None,
    ) -> None:
        """Is the returned state an allowed one? ``found`` compares a state with the returned one."""
        least = max(at_least, self.sure.get(key, 0) if known is None else known.get(key, 0))
        if known is None:
            least = max(least, process.sure.get(key, 0))
        states = self.states.get(key, [None])
        if any(found(state) for state in states[least:]):
            return
        returned = [index for index, state in enumerate(states[:least]) if found(state)]
        name = self.world.processes.index(process)
        raise AssertionError(
            f"process {name} read of {key} by {what} state {returned or 'none'} of {len(states)},"
            f" may be {least} or later: {states}"
        )

    def _known(self, process: Process) -> Changed:
        """The oldest state that a read starting now may return, for each row."""
        return {
            key: max(self.sure.get(key, 0), process.sure.get(key, 0)) for key in self.sure.keys() | process.sure.keys()
        }

    def _reader(self, process: Process, key: Key, kind: int, at_least: bool) -> tuple[Callable[[], Any], Any]:
        """A read that concerns the row, and what judges its result. ``kind`` chooses among the reads that do."""
        cache = process.cache
        states = self.states[key]
        index = len(states) - 1 if at_least and states[-1] is not None else 0
        version = states[index]["version"] if index else None  # type: ignore[index]
        latest = next((state for state in reversed(states) if state is not None), None)
        assert latest is not None

        def one(row: Any) -> Callable[[State], bool]:
            return lambda state: (
                (state is None and row is None) or (state is not None and row is not None and state == row.__dict__)
            )

        def many(
            rows: list[Any], among: str, key_of: Callable[[Any], Key], belongs: Callable[[dict[str, Any]], bool]
        ) -> Iterator[tuple[Key, Callable[[State], bool]]]:
            returned = {key_of(row): row for row in rows}
            assert len(returned) == len(rows), rows
            for other in [key for key in self.states if key[0] == among] + [
                key for key in returned if key not in self.states
            ]:
                row = returned.get(other)
                if row is None:
                    yield other, lambda state: state is None or not belongs(state)
                else:
                    assert belongs(row.__dict__), row
                    yield other, one(row)

        def judge_one(row: Any, known: Changed | None = None) -> None:
            self._judge(process, "itself", one(row), key, index, known)

        def judging_many(
            what: str, among: str, key_of: Callable[[Any], Key], belongs: Callable[[dict[str, Any]], bool]
        ) -> Callable[..., None]:
            def judge(rows: Any, known: Changed | None = None) -> None:
                for other, found in many(rows, among, key_of, belongs):
                    self._judge(process, what, found, other, index if other == key else 0, known)

            return judge

        match key[0]:
            case "position":
                position_id, agent_id, token = UUID(key[1]), latest["agent_id"], latest["token_address"]
                if kind % 3 == 1:
                    return lambda: cache.positions_of_agent(agent_id, at_least=version), judging_many(
                        "positions_of_agent",
                        "position",
                        lambda row: ("position", str(row.id)),
                        lambda row: row["agent_id"] == agent_id,
                    )
                if kind % 3 == 2:

                    def judge_token(rows: Any, known: Changed | None = None) -> None:
                        exact = any(row.token_address == token for row in rows)
                        judging_many(
                            "positions_of_token",
                            "position",
                            lambda row: ("position", str(row.id)),
                            lambda row: row["token_address"] == token if exact else _in_any_case(row) == token.lower(),
                        )(rows, known)

                    return lambda: cache.positions_of_token(token, at_least=version), judge_token
                return lambda: cache.position(position_id, at_least=version), judge_one
            case "balance":
                agent, wallet, token = UUID(key[1]), key[2], key[3]
                if kind % 2:
                    return lambda: cache.balances_of_wallet(agent, wallet, at_least=version), judging_many(
                        "balances_of_wallet",
                        "balance",
                        lambda row: ("balance", str(row.agent_id), row.wallet_address, row.token_address),
                        lambda row: (row["agent_id"], row["wallet_address"]) == (agent, wallet),
                    )
                return lambda: cache.balance(agent, wallet, token, at_least=version), judge_one
        agent = UUID(key[1])
        if kind % 3 == 1:

            def judge_config(config: Any, known: Changed | None = None) -> None:
                def found(state: State) -> bool:
                    return (state is None and config is None) or (
                        state is not None and stored_config(state["trading_config"], agent) == config
                    )

                self._judge(process, "config", found, key, index, known)

            return lambda: cache.config(agent, at_least=version), judge_config
        if kind % 3 == 2:

            def judge_active(agents: list[UUID], known: Changed | None = None) -> None:
                for other in [key for key in self.states if key[0] == "agent"]:
                    found = _is_active if UUID(other[1]) in agents else _is_not_active
                    self._judge(process, "active_agents", found, other, known=known)

            return cache.active_agents, judge_active

        def judge_flags(flags: Any, known: Changed | None = None) -> None:
            returned = flags.model_dump(exclude={"agent_id", "source"})

            def found(state: State) -> bool:
                if state is None:
                    return flags.source == "nowhere" and bool(flags.paused())
                return all(state[name] == value for name, value in returned.items())

            self._judge(process, "trading_flags", found, key, index, known)

        return lambda: cache.trading_flags(agent, at_least=version), judge_flags

    def _read(self, process: Process, key: Key, kind: int, at_least: bool = False) -> None:
        read, judge = self._reader(process, key, kind, at_least)
        judge(read())


def _in_any_case(row: dict[str, Any]) -> str:
    token: str = row["token_address"]
    return token.lower()


def _is_active(state: State) -> bool:
    return state is not None and bool(
        state["automated_trading_live" if state["trading_mode"] == "live" else "automated_trading_simulation"]
    )


def _is_not_active(state: State) -> bool:
    return not _is_active(state)


class Undone(Exception):
    """Leaves a transaction, so that it is rolled back."""


@contextmanager
def refusals() -> Iterator[None]:
    """Ignores what the database refuses, which is no failure of the cache. A missing server fails the test."""
    try:
        yield
    except Undone:
        pass
    except (BlockMisuse, DatabaseUnavailable, InvalidInput):
        raise
    except NexgentError:
        pass
