"""Records what interrupted callers were acknowledged and read, and compares it with the database and the pool.

Shared by tests/chaos/cancellations.py (tasks) and tests/chaos/interruptions.py (signals). Both run in a process of
their own, so that neither a late signal nor a stuck pool affects the process that starts them.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import psycopg
import redis
from psycopg.conninfo import make_conninfo

from nexgent_db.errors import BlockMisuse, PoolExhausted
from nexgent_db.settings import Settings
from tests.chaos.probe import Probe
from tests.support.oracles.cache_oracle import differences
from tests.support.servers.roles import RoledDatabase, new_prefix
from tests.support.servers.valkey_server import valkey_server

USES: Final = ("plain", "pipeline", "tenant", "cached", "streaming")
POOL_SIZES: Final = (2, 5)
CALLERS_PER_CONNECTION: Final = 3
STREAMED_ROWS: Final = 24
LONGEST_S: Final = 1.0
"""How long an interrupted call may take to return."""
AT_ONCE_S: Final = 0.5
"""How long a plain call may take afterwards."""
POOL_TIMEOUT_S: Final = 2.0
STUCK_S: Final = 60.0
REFUSED_FOR_GOOD: Final = 25
"""So many callers who waited two seconds in vain: the pool does not come back, and the run ends early."""
_SETTLED_S: Final = 10.0
_CHECKOUT: Final = Path(__file__).resolve().parents[2]
PLACE_VARIABLE: Final = "NEXGENT_CHAOS_PLACE"


@dataclass(frozen=True)
class Place:
    """The servers of a run. ``tenants_url`` logs in as a role that row-level security binds."""

    url: str
    tenants_url: str
    redis_url: str

    def settings(self, use: str, pool_size: int, application_name: str) -> Settings:
        """Those of one run, whatever this process's environment says. One connection is kept, others come and go."""
        url = make_conninfo(self.tenants_url if use == "tenant" else self.url, application_name=application_name)
        redis_url = self.redis_url if use == "cached" else None
        return replace(
            Settings.from_url(url, {}, redis_url=redis_url),
            cache_prefix=f"{application_name}:",
            pool_min_size=1,
            pool_max_size=pool_size,
            pool_timeout_s=POOL_TIMEOUT_S,
        )

    @classmethod
    def of_environment(cls) -> Self:
        """What :func:`run_child` passed on."""
        return cls(**json.loads(os.environ[PLACE_VARIABLE]))

    def environment(self) -> dict[str, str]:
        """The same, for a child."""
        return {PLACE_VARIABLE: json.dumps(asdict(self))}


@contextlib.contextmanager
def place_with_roles(url: str) -> Iterator[Place]:
    """A migrated database, which is given roles, and a Valkey beside it for as long as the block."""
    roled = RoledDatabase(url, new_prefix())
    roled.apply()
    with valkey_server() as valkey:
        yield Place(url, roled.url_of("app"), valkey.url)


class Account:
    """The answers that one run's callers got. Safe to share between tasks, and between threads."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.acknowledged: set[UUID] = set()
        self.undone: set[UUID] = set()
        """Ids of trades whose block or savepoint was left by the caller's own error, to its end."""
        self.wrong: list[str] = []
        self.errors: Counter[str] = Counter()
        self.misuse = 0
        self.refused = 0
        self.starved = 0
        self.first_errors: dict[str, str] = {}

    def acknowledge(self, *trade_ids: UUID) -> None:
        """Record trades that the package reported as committed."""
        self.acknowledged.update(trade_ids)

    def undo(self, *trade_ids: UUID) -> None:
        """Record trades that the package reported as rolled back."""
        self.undone.update(trade_ids)

    def check(self, right: object, what: str) -> None:
        """Each caller reads its own rows: other rows are wrong, and so is an empty result."""
        if not right:
            self.wrong.append(what)

    def note(self, error: BaseException) -> None:
        """A call that failed by itself."""
        now = time.monotonic()
        if isinstance(error, PoolExhausted) and self._probe.late_s(now - POOL_TIMEOUT_S, now) > POOL_TIMEOUT_S / 4:
            self.starved += 1
            return
        if isinstance(error, BlockMisuse):
            self.misuse += 1
        elif isinstance(error, PoolExhausted):
            self.refused += 1
        name = type(error).__name__
        self.errors[name] += 1
        self.first_errors.setdefault(name, _with_origin(error))

    def took_s(self, since: float, until: float) -> float:
        """How long a call took, without the time for which a bare connection was kept waiting."""
        return until - since - self._probe.late_s(since, until)

    @property
    def pool_is_dead(self) -> bool:
        return self.refused >= REFUSED_FOR_GOOD or self.misuse >= 1000 * REFUSED_FOR_GOOD


def _with_origin(error: BaseException) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
    return f"{error} (at {place})"


@dataclass
class Figures:
    """The counts of one run; ``faults`` lists those that must not occur."""

    flavour: str
    use: str
    pool_size: int
    seed: int
    interrupted: int = 0
    acknowledged: int = 0
    lost: int = 0
    undone: int = 0
    revived: int = 0
    wrong: list[str] = field(default_factory=list)
    misuse: int = 0
    refused: int = 0
    starved: int = 0
    """Refused while a bare connection waited as well: the machine was busy."""
    probe_s: float = 0.0
    errors: dict[str, int] = field(default_factory=dict)
    first_errors: dict[str, str] = field(default_factory=dict)
    swallowed: dict[str, int] = field(default_factory=dict)
    """Interrupted calls that ended otherwise than by the interruption, by what they ended with."""
    longest_s: float = 0.0
    longest_at: str = ""
    slots: int = 0
    sessions: int = 0
    unfinished: int = 0
    left_open: int = 0
    first_call_s: float = 0.0
    complaints: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    @property
    def rows_to_begin_with(self) -> int:
        """Transactions of each caller: what streams have to hand out."""
        return STREAMED_ROWS if self.use in ("streaming", "tenant") else 1

    def faults(self) -> list[str]:
        """One line for each fault."""
        found = {
            f"{self.lost} of {self.acknowledged} acknowledged deposits are not in the database": self.lost,
            f"{self.revived} of {self.undone} deposits that were rolled back are in the database": self.revived,
            f"{len(self.wrong)} wrong rows, such as {self.wrong[:1]}": self.wrong,
            f"{self.misuse} times BlockMisuse without misuse": self.misuse,
            f"{self.refused} times PoolExhausted, though no connection was held for long": self.refused,
            f"other errors: {self.errors} {self.first_errors}": self.errors,
            f"interruptions were swallowed: {self.swallowed}": self.swallowed,
            f"an interrupted call returned after {self.longest_s:.2f} s, {self.longest_at}": self.longest_s > LONGEST_S,
            f"{self.slots} callers get a connection at once, not {self.pool_size}": self.slots != self.pool_size,
            f"{self.sessions} sessions remain, not {self.pool_size}": self.sessions != self.pool_size,
            f"{self.unfinished} sessions are not idle": self.unfinished,
            f"{self.left_open} sessions outlive close()": self.left_open,
            f"a plain call took {self.first_call_s:.2f} s afterwards": self.first_call_s > AT_ONCE_S,
            f"{len(self.complaints)} complaints of the interpreter, such as {self.complaints[:1]}": self.complaints,
            f"stuck: {self.stuck}": self.stuck,
        }
        return [text for text, is_so in found.items() if is_so]

    def line(self) -> str:
        """One row of the table that :func:`heading` begins."""
        other = sum(self.errors.values()) - self.misuse - self.refused
        return (
            f"{self.flavour:5} {self.use:9} {self.pool_size:4} {self.interrupted:11,} {self.acknowledged:12,}"
            f" {self.lost:5,} {self.revived:7,} {len(self.wrong):5,} {self.misuse:7,} {self.refused:7,} {other:5,}"
            f" {sum(self.swallowed.values()):9,} {self.longest_s:9.3f} {self.slots:3}/{self.pool_size}"
            f" {self.sessions:8} {self.unfinished:10} {self.first_call_s:10.3f} {len(self.complaints):10}"
            f" {self.starved:7,} {self.probe_s:7.3f}"
            f" {self.seed:11}"
        )


def heading() -> str:
    return (
        "      use       pool interrupted acknowledged  lost revived wrong BlockMisuse… refused other"
        " swallowed longest_s slots sessions unfinished first_call complaints starved probe_s seed"
    ).replace("BlockMisuse…", " misuse")


def settle(account: Account, figures: Figures, place: Place, application_name: str) -> None:
    """Compare the account with the database, over a connection that is not the package's."""
    with psycopg.connect(place.url, autocommit=True) as database:
        stored = {
            row[0]
            for row in database.execute(
                "SELECT id FROM trade_requests WHERE id = ANY(%s)", [list(account.acknowledged | account.undone)]
            )
        }
        if figures.use == "cached":
            account.wrong += _bring_in(place, application_name)
            with redis.Redis.from_url(place.redis_url, decode_responses=True) as cache:
                account.wrong += differences(cache, database, f"{application_name}:")
    figures.acknowledged, figures.undone = len(account.acknowledged), len(account.undone)
    figures.lost = len(account.acknowledged - stored)
    figures.revived = len(account.undone & stored)
    figures.wrong = account.wrong
    figures.misuse, figures.refused, figures.starved = account.misuse, account.refused, account.starved
    figures.errors, figures.first_errors = dict(account.errors), account.first_errors


def _bring_in(place: Place, application_name: str) -> list[str]:
    """Relay the rest of the outbox to the cache; returns the fault when this does not end."""
    environment = {
        **os.environ,
        "DATABASE_URL": place.url,
        "REDIS_URL": place.redis_url,
        "NEXGENT_DB_CACHE_PREFIX": f"{application_name}:",
    }
    command = [sys.executable, "-m", "nexgent_db.cli", "cache", "relay"]
    try:
        subprocess.run(command, env=environment, cwd=_CHECKOUT, check=True, stdout=subprocess.DEVNULL, timeout=STUCK_S)
    except subprocess.TimeoutExpired:
        with psycopg.connect(place.url) as database:
            rows = database.execute("SELECT * FROM cache_outbox ORDER BY 1 LIMIT 3").fetchall()
            sessions = database.execute(
                "SELECT application_name, state, wait_event, query FROM pg_stat_activity"
                " WHERE datname = current_database()"
            ).fetchall()
        return [f"the outbox is not drained within {STUCK_S} s: {rows}, {sessions}"]
    return []


def count_sessions(place: Place, application_name: str, expected: int) -> tuple[int, int]:
    """The number of the run's sessions, and of those that are not idle, once they are as expected."""
    until = time.monotonic() + _SETTLED_S
    with psycopg.connect(place.url, autocommit=True) as database:
        while True:
            states = [
                row[0]
                for row in database.execute(
                    "SELECT state FROM pg_stat_activity WHERE application_name = %s", [application_name]
                )
            ]
            counted = len(states), sum(state != "idle" for state in states)
            if counted == (expected, 0) or time.monotonic() > until:
                return counted
            time.sleep(0.02)


@contextlib.contextmanager
def complaints_of(
    figures: Figures, expected: Callable[[BaseException | None], bool] = lambda _: False
) -> Iterator[None]:
    """Warnings, and unraisable exceptions, such as those in destructors, unless they are ``expected``."""
    hook = sys.unraisablehook

    def note(unraisable: Any) -> None:
        if not expected(unraisable.exc_value):
            figures.complaints.append(f"unraisable: {unraisable.exc_value!r} in {unraisable.object!r}")

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        sys.unraisablehook = note
        try:
            yield
        finally:
            sys.unraisablehook = hook
            figures.complaints += [f"{one.category.__name__}: {one.message}" for one in warned]


def run_child(
    module: str,
    place: Place,
    *,
    interruptions: int,
    seed: int,
    uses: Sequence[str] = USES,
    pool_sizes: Sequence[int] = POOL_SIZES,
    options: Sequence[str] = (),
    python: str = sys.executable,
) -> Iterator[Figures]:
    """Run ``python -m module`` and yield the figures of each run. Raises AssertionError when it fails."""
    command = [python, "-X", "faulthandler", "-m", module, "--json"]
    command += ["--interruptions", str(interruptions), "--seed", str(seed), "--uses", *uses]
    command += ["--pools", *map(str, pool_sizes), *options]
    environment = {**os.environ, **place.environment(), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT, env=environment) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:
                yield figures_of(line)
        finally:
            child.kill() if child.poll() is None and sys.exc_info()[0] is not None else child.wait()
    assert child.returncode == 0, f"{' '.join(command)} ended with {child.returncode}"


def figures_of(line: str) -> Figures:
    """Those of one line of a child."""
    given = json.loads(line)
    return Figures(**{item.name: given[item.name] for item in fields(Figures)})
