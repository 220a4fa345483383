# Generated from nexgent_db/aio/replicas.py by `make sync`: do not edit.
"""Streaming replicas: which of them may answer a read. Each is asked for its state twice a second, and while it lags
more often.

A replica is verified on every new connection: it is a standby of the primary's cluster, with the same database and
migrations. A read that it fails leaves it out at once; the next question that it answers brings it back.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import psycopg

from nexgent_db._concurrency import Background, reset_after_fork
from nexgent_db._wal import HighWaterMark, WalPosition, lsn_of
from nexgent_db.errors import (
    ConfigurationError,
    NexgentError,
    PoolExhausted,
    SchemaNotReady,
    ServerNotReady,
    TooManyConnections,
    translate,
)
from nexgent_db.models.replicas import ReplicaHealth, ReplicaMetrics, ReplicaState
from nexgent_db.settings import Settings, describe, replica_settings
from nexgent_db.sync.connection import PooledConnection
from nexgent_db.sync.gate import PROBE_LIMIT_S, applied
from nexgent_db.sync.pool import ConnectionPool, Lease
from nexgent_db.sync.wal import PRIMARY_POSITION, PrimaryTracker

PROBE_PAUSE_S: Final = 0.5
LAGGING_PAUSE_S: Final = 0.1
"""The pause between two questions to a replica that lags: one that was late once should not be left out for long."""
_LOG: Final = logging.getLogger("nexgent_db")

_IDENTITY: Final = b"""
SELECT
    (pg_control_system()).system_identifier::text,
    current_database()::text || ' ' || (SELECT oid FROM pg_database WHERE datname = current_database()),
    pg_postmaster_start_time()::text,
    to_regclass('_yoyo_migration') IS NOT NULL,
    pg_is_in_recovery(),
    greatest(
        (pg_control_checkpoint()).timeline_id,
        (pg_control_recovery()).min_recovery_end_timeline,
        (SELECT received_tli FROM pg_stat_wal_receiver)
    )::integer,
    pg_last_wal_replay_lsn()::text
"""
"""Of the sources of a standby's timeline the first two are late by a restart point at most; the last one is NULL for
roles that are no members of pg_read_all_stats."""


class _Identity(NamedTuple):
    """What a server says of itself."""

    cluster: str
    database: str
    started_at: str
    migrated: bool
    in_recovery: bool
    timeline: int
    replay_lsn: str | None


class Unfit(Exception):
    """This replica does not answer this read: another one, or the primary, does."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.behind = reason == "behind"


class Replica:
    """One replica: its connections and its state."""

    def __init__(self, settings: Settings, primary: PrimaryIdentity, mark: HighWaterMark) -> None:
        self._wait_s = settings.replica_wait_s
        self.name = describe(settings.conninfo)
        self.pool = ConnectionPool(settings, self._verify)
        self.state: ReplicaState = "gone"
        self.problem: str | None = "it was not asked yet"
        self.fault: NexgentError | None = None
        """Why its URL cannot be right; None when it is, or when that is not known."""
        self.timeline = 0
        self.lsn = 0
        """How far it has applied the log, at its last sign of life."""
        self.reads = 0
        self.left_out = 0
        self._ask_at = 0.0
        self._primary = primary
        self._mark = mark
        self._background = Background()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In the child: the questions are asked by a thread or thread of its own, from the first read on."""
        self._background.reset_after_fork()

    # --- Its state --------------------------------------------------------------------------------

    def may_answer(self, needed: WalPosition) -> bool:
        """Is it worth asking, for a read that needs this position?"""
        self.start()
        if self.timeline < needed.timeline:
            return False
        return self.state == "ok" or (self.state == "lagging" and self.lsn >= needed.lsn)

    def seen_at(self, lsn: int) -> None:
        """It has answered, and has applied the log up to there."""
        self.lsn = max(self.lsn, lsn)

    def leave_out(self, state: ReplicaState, problem: str) -> None:
        """Note why it did not answer a read."""
        problem = problem.replace("of DATABASE_URL", "of DATABASE_REPLICA_URLS")
        if state in ("gone", "promoted"):
            self.lsn = 0  # a server that has crashed begins at an earlier position
        self._change(state, problem)

    def _change(self, state: ReplicaState, problem: str | None) -> None:
        before, self.state, self.problem = self.state, state, problem
        if before == state:
            return
        if before == "ok":
            self.left_out += 1
        said = "answers reads" if state == "ok" else f"is left out, {state}: {problem}"
        usual = state in ("ok", "lagging")  # each time that it needs longer than the bound
        _LOG.log(logging.INFO if usual else logging.WARNING, "the replica %s %s", self.name, said)

    def health(self) -> ReplicaHealth:
        """Its state, without asking it."""
        return ReplicaHealth(
            name=self.name,
            state=self.state,
            problem=self.problem,
            behind_bytes=max(0, self._mark.position.lsn - self.lsn) if self.lsn else None,
            reads=self.reads,
            left_out=self.left_out,
        )

    # --- Asking it --------------------------------------------------------------------------------

    def start(self) -> None:
        """Ask it in the background, from now on."""
        self._background.start(self._step, LAGGING_PAUSE_S, at_once=False)

    def _step(self) -> bool:
        now = time.monotonic()
        if self.state == "lagging" or now >= self._ask_at:
            self._ask_at = now + PROBE_PAUSE_S
            self.probe()
        return False

    def probe(self) -> None:
        """Ask for its state once. Raises nothing but what ends the program."""
        lease = self.pool.lease()
        try:
            connection = lease.acquire()
            connection.limit_s = PROBE_LIMIT_S + self._wait_s
            self._judge(_identity(connection))
            if self.state == "lagging" and self.timeline >= self._mark.position.timeline:
                self._catch_up(connection)
        except (PoolExhausted, TooManyConnections):
            pass  # it is busy, not gone
        except (psycopg.Error, NexgentError) as error:
            if self.state in ("ok", "lagging", "gone"):
                self.leave_out("gone", str(translate(error) if isinstance(error, psycopg.Error) else error))
        finally:
            lease.over = True
            lease.release()

    def _catch_up(self, connection: PooledConnection) -> None:
        """Answer reads again when it reaches within the bound what this process has written or read by now."""
        needed = self._mark.position
        self.seen_at(applied(connection, needed, self._wait_s))
        if self.lsn >= needed.lsn:
            self._change("ok", None)

    def _verify(self, connection: PooledConnection) -> None:
        """For each new connection. Raises ServerNotReady when the server may not answer reads."""
        connection.limit_s = PROBE_LIMIT_S
        try:
            self._judge(_identity(connection))
        except psycopg.Error as error:
            raise translate(error) from error
        if self.state in ("promoted", "refused"):
            raise ServerNotReady(f"{self.name}: {self.problem}")
        connection.limit_s = connection._default_limit_s

    def _judge(self, found: _Identity) -> None:
        """Set the state by what the server says of itself."""
        state, self.fault = self._primary.judge(self.name, found)
        if state != "ok":
            return self.leave_out(state, str(self.fault))
        assert found.replay_lsn is not None
        self.timeline = found.timeline
        if self.timeline < self._mark.position.timeline:
            problem = f"it follows timeline {self.timeline}, the primary is on {self._mark.position.timeline}"
            return self.leave_out("lagging", problem)
        self.seen_at(lsn_of(found.replay_lsn))
        if self.state != "lagging":
            self._change("ok", None)
        return None

    def close(self) -> None:
        """End the questions and close the connections."""
        self._background.close()
        self.pool.close()


class PrimaryIdentity:
    """What the primary has said of itself when the database was opened."""

    def __init__(self) -> None:
        self._found: _Identity | None = None

    def learn(self, connection: PooledConnection, mark: HighWaterMark) -> None:
        """Ask it, and begin with its position: no read is older than this. Raises psycopg.Error."""
        self._found = _identity(connection)
        row = connection.execute(PRIMARY_POSITION).fetchone()
        if row is not None and row[0] is not None:
            mark.raise_to(WalPosition.of_primary(row[0]))

    def judge(self, name: str, found: _Identity) -> tuple[ReplicaState, NexgentError | None]:
        """The state of a server that should be a replica, and what is wrong with it."""
        own = self._found
        assert own is not None
        if found.cluster != own.cluster:
            said = f"of another cluster: its system identifier is {found.cluster}, the primary's is {own.cluster}"
        elif found.database != own.database:
            said = f"another database: {found.database.split()[0]}, the primary's is {own.database.split()[0]}"
        elif found.in_recovery and (found.migrated or not own.migrated):
            return "ok", None
        elif found.in_recovery:
            problem = "it shows no migrations where the primary has them: give it the same database and ?schema="
            return "refused", SchemaNotReady(f"the replica {name} is unmigrated: {problem}, or let it catch up")
        elif found.started_at != own.started_at:
            return "promoted", ServerNotReady(f"{name} is no standby any more: it was promoted")
        else:
            said = "the primary itself: leave it out of DATABASE_REPLICA_URLS"
        return "refused", ConfigurationError(f"the replica {name} is {said}")


class ReplicaSet:
    """All replicas of a database. Without one, the primary answers everything."""

    def __init__(self, settings: Settings) -> None:
        self._primary = PrimaryIdentity()
        self.mark = HighWaterMark()
        """What this process has written or read through the database."""
        self._settings = [replica_settings(settings, conninfo) for conninfo in settings.replica_conninfos]
        self.wait_s = settings.replica_wait_s
        self._replicas: list[Replica] = []
        self.replica_reads = self.behind = self.unavailable = self.conflicts = 0

    def open(self, lease: Callable[[], Lease]) -> None:
        """Verify every replica that can be reached.

        Raises ConfigurationError for one that is the primary, or of another cluster or database; SchemaNotReady for one
        that has caught up and shows no migrations where the primary has them; what queries on the primary raise.
        """
        if not self._settings:
            return
        held = lease()
        try:
            self._primary.learn(held.acquire(), self.mark)
        except psycopg.Error as error:
            raise translate(error) from error
        finally:
            held.over = True
            held.release()
        self._replicas = [Replica(settings, self._primary, self.mark) for settings in self._settings]
        for replica in self._replicas:
            replica.probe()
            if isinstance(replica.fault, ConfigurationError | SchemaNotReady):
                raise replica.fault
            replica.start()

    def close(self) -> None:
        """Close all connections."""
        replicas, self._replicas = self._replicas, []
        for replica in replicas:
            replica.close()

    @property
    def configured(self) -> bool:
        """Does DATABASE_REPLICA_URLS name any?"""
        return bool(self._settings)

    def track(self, connection: PooledConnection) -> None:
        """Have a new connection of the primary note the positions of its calls, if there are replicas."""
        if self._settings:
            connection.tracker = PrimaryTracker(self.mark)

    def token(self, lease: Lease) -> str:
        """The token of the mark; asks the primary when no connection notes it. Raises DatabaseError."""
        if not self._settings or self.mark.unknown:
            locate(lease, self.mark)
        return self.mark.token

    def candidates(self, needed: WalPosition) -> list[Replica]:
        """The replicas to try for a read that needs this position, the best one first.

        One that has it, by its last sign of life, comes before one that must catch up; then the less busy one.
        """
        usable = [replica for replica in self._replicas if replica.may_answer(needed)]
        if len(usable) > 1:
            usable.sort(key=lambda each: (each.lsn < needed.lsn, _busy(each.pool), random.random()))  # noqa: S311
        return usable

    def count_primary(self, *, behind: bool) -> None:
        """Count a read that the primary answers; ``behind``: a replica was there, and not up to date in time."""
        if behind or any(replica.state == "lagging" for replica in self._replicas):
            self.behind += 1
        else:
            self.unavailable += 1

    def health(self) -> tuple[ReplicaHealth, ...]:
        """The state of each, without asking it."""
        return tuple(replica.health() for replica in self._replicas)

    def metrics(self) -> ReplicaMetrics:
        """What was counted."""
        return ReplicaMetrics(
            replica_reads=self.replica_reads,
            primary_reads=self.behind + self.unavailable,
            behind=self.behind,
            unavailable=self.unavailable,
            conflicts=self.conflicts,
            replicas=self.health(),
        )


def _busy(pool: ConnectionPool) -> int:
    stats = pool.stats()
    return stats.size - stats.available + stats.waiting


def locate(lease: Lease, mark: HighWaterMark) -> None:
    """Ask the primary for its position. Raises DatabaseError."""
    mark.unknown = False  # before the question: a call that loses its position meanwhile sets it again
    try:
        connection = lease.acquire()
        row = connection.execute(PRIMARY_POSITION).fetchone()
    except BaseException as error:
        mark.unknown = True
        if isinstance(error, psycopg.Error):
            raise translate(error) from error
        raise
    finally:
        lease.over = True
        lease.release()
    if row is not None and row[0] is not None:
        mark.located(WalPosition.of_primary(row[0]))


def _identity(connection: PooledConnection) -> _Identity:
    """Behind a pooler, in a transaction of its own, which has the search path in which migrations are looked for."""
    if connection.transaction_settings is None:
        row: Any = connection.execute(_IDENTITY).fetchone()
    else:
        connection.set_transaction_options()
        with connection.transaction():
            row = connection.execute(_IDENTITY).fetchone()
    return _Identity(*row)
