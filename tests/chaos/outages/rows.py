"""The rows of the table: the outage, its duration, and the errors that calls may raise during it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from tests.chaos.outages import scenes
from tests.chaos.outages.journal import READS, WRITES
from tests.chaos.outages.scenes import Scene
from tests.support.faults.network_namespace import why_no_namespace
from tests.support.faults.small_disk import MountRefused, small_disk
from tests.support.servers.postgres_process import Cluster, why_no_process

AWAY: Final = frozenset({"DatabaseUnavailable", "ConnectionLost", "ServerNotReady"})
"""The errors of a server that is not there: at once, in the middle of a statement, while it starts."""
SILENT: Final = "state='gone'.*(did not answer|timeout expired)"
"""What health() says of a server that says nothing."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One outage.

    ``expected``: calls raise at least one of these classes. ``allowed``: others that they may raise. ``affects``: the
    kinds of calls that may fail; the others must succeed. ``health``: what its answer must say meanwhile, as a regular
    expression; None where it can know nothing. ``refuses``: connections are refused, so calls must fail at once.
    ``silent``: the server just stops answering, so the client must give up. ``at_commit``: only blocks are concerned
    that have all but their COMMIT behind them. ``may_be_read``: reads may go on with a server that takes no writes.
    ``needs``: the reason why this system cannot make it, if there is one.
    """

    outage: str
    lasts_s: float
    scene: Callable[[Cluster], AbstractContextManager[Scene]]
    expected: frozenset[str]
    allowed: frozenset[str] = frozenset()
    affects: frozenset[str] = READS | WRITES
    health: str | None = None
    refuses: bool = False
    silent: bool = False
    at_commit: bool = False
    may_be_read: bool = False
    first_success_s: float = 1.0
    needs: Callable[[], str | None] = lambda: None

    @property
    def name(self) -> str:
        """The outage and how long it lasts."""
        return f"{self.outage}, {self.lasts_s:g} s"

    def why_not(self) -> str | None:
        """The reason why this outage cannot be made here; None when it can."""
        return why_no_process() or self.needs()

    @property
    def errors(self) -> frozenset[str]:
        """The only classes that calls may raise."""
        return self.expected | self.allowed

    @property
    def proves_recovery(self) -> frozenset[str]:
        """The kinds of calls of which a success shows that it is over."""
        return self.affects or READS | WRITES

    @property
    def reaches_the_server(self) -> bool:
        """Do reads go on meanwhile?"""
        return self.may_be_read or not self.affects >= READS


def rows(*, short: bool) -> list[Row]:
    """All rows; or those that are over in a minute, with the options of tests/integration/test_outages.py."""
    stops_s = (3.0,) if short else (10.0, 40.0, 75.0)
    silence_s = 4.0 if short else 12.0
    rest_s = 3.0 if short else 5.0
    return [
        *(_stopped(seconds) for seconds in stops_s),
        _restarted(),
        _frozen("over a unix socket", scenes.frozen_unix, silence_s),
        *([] if short else [_frozen("over TCP", scenes.frozen_tcp, silence_s)]),
        _frozen_at_commit(silence_s),
        _black_hole(silence_s),
        _read_only(rest_s),
        *([] if short else [_demoted(rest_s)]),
        _promoted(rest_s),
        _exhausted(rest_s),
        _disk_full(rest_s),
    ]


def _stopped(seconds: float) -> Row:
    return Row(
        outage="server stopped",
        lasts_s=seconds,
        scene=scenes.stopped,
        expected=frozenset({"DatabaseUnavailable"}),
        allowed=AWAY,
        health="state='gone'.*(refused|shutting down|starting up|closed the connection)",
        refuses=True,
    )


def _restarted() -> Row:
    return Row(outage="server crashed, restarted", lasts_s=0.0, scene=scenes.restarted, expected=AWAY)


def _frozen(way: str, scene: Callable[[Cluster], AbstractContextManager[Scene]], seconds: float) -> Row:
    return Row(
        outage=f"server frozen, {way}",
        lasts_s=seconds,
        scene=scene,
        expected=frozenset({"ConnectionLost"}),
        allowed=AWAY | {"StatementTimeout"},  # raised after it thawed
        health=SILENT,
        silent=True,
    )


def _frozen_at_commit(seconds: float) -> Row:
    return Row(
        outage="frozen at COMMIT",
        lasts_s=seconds,
        scene=scenes.frozen_at_commit,
        expected=frozenset({"ConnectionLost"}),
        affects=frozenset(),
        at_commit=True,
    )


def _black_hole(seconds: float) -> Row:
    return Row(
        outage="network black hole",
        lasts_s=seconds,
        scene=scenes.black_hole,
        expected=frozenset({"ConnectionLost"}),
        allowed=AWAY | {"LockTimeout", "StatementTimeout"},  # the server has yet to notice whose transactions are lost
        health=SILENT,
        silent=True,
        first_success_s=1.0,
        needs=why_no_namespace,
    )


def _read_only(seconds: float) -> Row:
    return Row(
        outage="server read-only",
        lasts_s=seconds,
        scene=scenes.read_only,
        expected=frozenset({"ServerReadOnly"}),
        affects=WRITES,
        health="state='read only'",
    )


def _demoted(seconds: float) -> Row:
    return Row(
        outage="primary demoted",
        lasts_s=seconds,
        scene=scenes.primary_demoted,
        expected=frozenset({"ServerReadOnly", "DatabaseUnavailable", "ServerNotReady"}),
        allowed=AWAY,
        health="read.only",
        may_be_read=True,
    )


def _promoted(seconds: float) -> Row:
    return Row(
        outage="standby promoted",
        lasts_s=seconds,
        scene=scenes.standby_promoted,
        expected=frozenset({"DatabaseUnavailable", "ServerNotReady"}),
        allowed=AWAY | {"ServerReadOnly"},
        health="state='gone'.*(refused|read.only)",
        refuses=True,
    )


def _exhausted(seconds: float) -> Row:
    return Row(
        outage="connections exhausted",
        lasts_s=seconds,
        scene=scenes.connections_exhausted,
        expected=frozenset({"TooManyConnections"}),
        allowed=frozenset({"ConnectionLost"}),
        health="state='full'",
        refuses=True,
    )


def _disk_full(seconds: float) -> Row:
    return Row(
        outage="disk full",
        lasts_s=seconds,
        scene=scenes.disk_full,
        expected=frozenset({"DiskFull"}),
        affects=WRITES,
        needs=_why_no_small_disk,
    )


def _why_no_small_disk() -> str | None:
    try:
        with small_disk(1 << 20):
            return None
    except MountRefused as refused:
        return f"a small disk cannot be mounted here: {refused}"
