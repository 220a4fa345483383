"""Measures the effect of an outage on callers, and lists the broken promises."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.chaos.outages.journal import COMMITS, MONITORS, READS, WRITES, Call, Flavour, Journal
from tests.chaos.outages.rows import Row

MARGIN_S: Final = 2.0
"""A client waits for an answer so much longer than the server may work on it."""
PIPELINED: Final = 2
"""The statements of a block in a pipeline that the server may work on before it says anything. Other callers may have
to wait for the connection of such a block."""
SLACK_S: Final = 0.5
"""For this machine, which does other things as well."""
AT_ONCE_S: Final = 0.05
"""Half of all refusals take no longer, while the server is known to be down."""
KNOWN_AFTER_S: Final = 1.0
"""From when on a server that refuses connections is known to be down."""
ON_ITS_WAY_S: Final = 0.5
"""So long after an outage began, answers may still be of the time before."""
GIVEN_UP_S: Final = 2.0
"""``wait_for(…, 1)`` returns within twice its time."""


@dataclass(frozen=True)
class Times:
    """Moments of an outage, by time.monotonic()."""

    began: float
    """The first thing broke."""
    broken: float
    """All was broken."""
    ended: float
    """Its repair began."""
    accepts: float
    """A client of another kind connected and could write."""
    judged: float


@dataclass
class Verdict:
    """One row of the table for one flavour. ``faults`` are the broken promises."""

    row: str
    flavour: Flavour
    errors: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    refused_s: float | None = None
    exhausted: int = 0
    first_success_s: float | None = None
    all_callers_s: float | None = None
    acknowledged: int = 0
    missing: int = 0
    partial: int = 0
    sessions: int = 0
    slots: int = 0
    descriptors: int = 0
    given_up_s: float | None = None
    health: str = ""
    faults: list[str] = field(default_factory=list)

    def require(self, holds: bool, fault: str) -> None:
        """Note a broken promise."""
        if not holds:
            self.faults.append(fault)


def measure(
    verdict: Verdict, row: Row, journal: Journal, times: Times, statement_timeout_s: float, recovery_slack_s: float
) -> None:
    """Which errors calls raised, and how soon."""
    flavour = verdict.flavour
    calls = journal.of(flavour, READS | WRITES)
    _errors(verdict, row, calls, times)
    _waits(verdict, journal, times, statement_timeout_s)
    _refusals(verdict, row, calls, times)
    _recovery(verdict, row, calls, times, recovery_slack_s)
    _monitors(verdict, row, journal, times)
    _commits(verdict, row, journal, times)
    together = journal.of(flavour, frozenset({"together"}))
    refused = [call for call in together if call.error is not None]
    verdict.require(
        not refused,
        f"{len(refused)} of {len(together)} calls of a pool that was quiet since the outage failed, more than"
        f" {row.first_success_s:g} s after the server accepted: {_first(refused)}",
    )
    given_up = [call for call in journal.of(flavour) if call.kind.startswith("wait_for")]
    if given_up:
        verdict.given_up_s, slowest = max(
            ((call.waited_s(0, times.judged), call) for call in given_up), key=lambda pair: pair[0]
        )
        verdict.require(verdict.given_up_s <= GIVEN_UP_S, f"{slowest.kind} took {verdict.given_up_s:.1f} s")
        wrong = {call.error for call in given_up} - {"TimeoutError", *row.errors}
        verdict.require(not wrong, f"wait_for ended with {wrong}")


def _waits(verdict: Verdict, journal: Journal, times: Times, statement_timeout_s: float) -> None:
    """Has every call ended in time, well or not?"""
    limit_s = PIPELINED * statement_timeout_s + MARGIN_S + SLACK_S
    waits = [(call.waited_s(times.began, times.judged), call) for call in journal.of(verdict.flavour) if _lasting(call)]
    verdict.longest_s, longest = max(waits, key=lambda pair: pair[0])
    late = sum(wait > limit_s for wait, _ in waits)
    verdict.require(
        late == 0,
        f"{late} calls were late: {longest.kind} waited {verdict.longest_s:.1f} s for {longest.error or 'its answer'},"
        f" {limit_s:g} are allowed",
    )


def _lasting(call: Call) -> bool:
    return call.kind != "hold" and not call.kind.startswith("wait_for")


def _errors(verdict: Verdict, row: Row, calls: Sequence[Call], times: Times) -> None:
    failed = [call for call in calls if call.error is not None]
    verdict.errors = Counter(str(call.error) for call in failed)
    verdict.exhausted = verdict.errors["PoolExhausted"]
    early = [call for call in failed if call.ended is not None and call.ended < times.began]
    verdict.require(not early, f"{len(early)} calls failed before anything was broken: {_first(early)}")
    verdict.require(verdict.exhausted == 0, f"{verdict.exhausted} calls were refused as PoolExhausted")
    for name in sorted(set(verdict.errors) - row.errors - {"PoolExhausted"}):
        example = _first([call for call in failed if call.error == name])
        verdict.faults.append(f"{verdict.errors[name]} calls raised {example}")
    raised = bool(set(verdict.errors) & row.expected) or row.at_commit
    verdict.require(raised, f"no call raised {' or '.join(sorted(row.expected))}")
    if spared := (READS | WRITES) - row.affects:
        hit = [call for call in failed if call.kind in spared]
        verdict.require(not hit, f"{len(hit)} calls failed that need nothing that was broken: {_first(hit)}")


def _first(calls: Sequence[Call]) -> str:
    return f"{calls[0].error}: {calls[0].message} ({calls[0].kind})" if calls else ""


def _refusals(verdict: Verdict, row: Row, calls: Sequence[Call], times: Times) -> None:
    """While connections are refused, calls fail at once."""
    known = [
        call.ended - call.started
        for call in calls
        if call.error is not None and call.ended is not None
        if times.broken + KNOWN_AFTER_S <= call.started and call.ended <= times.ended
    ]
    if known:
        verdict.refused_s = median(known)
    if row.refuses:
        verdict.require(verdict.refused_s is not None, "no call failed while the server was known to be down")
        refused_s = verdict.refused_s or 0
        verdict.require(refused_s <= AT_ONCE_S, f"half of the refusals took {refused_s * 1000:.0f} ms and more")


def _recovery(verdict: Verdict, row: Row, calls: Sequence[Call], times: Times, slack_s: float) -> None:
    """From when the server accepts to the first success, and to the first of every caller."""
    firsts: dict[int, float] = {}
    for call in calls:
        if (
            call.kind in (row.affects or READS | WRITES)
            and call.succeeded
            and call.ended is not None
            and call.ended >= times.ended
        ):
            firsts.setdefault(call.caller, max(0.0, (call.ended or 0) - times.accepts))
    callers = {call.caller for call in calls}
    verdict.require(set(firsts) == callers, f"{len(callers - set(firsts))} callers had no success any more")
    if firsts:
        verdict.first_success_s = min(firsts.values())
        verdict.all_callers_s = max(firsts.values())
        verdict.require(
            verdict.first_success_s <= row.first_success_s + slack_s,
            f"the first success came {verdict.first_success_s:.2f} s after the server accepted,"
            f" {row.first_success_s + slack_s:g} are allowed",
        )


def _monitors(verdict: Verdict, row: Row, journal: Journal, times: Times) -> None:
    calls = journal.of(verdict.flavour, MONITORS)
    failed = [call for call in calls if call.error is not None]
    verdict.require(not failed, f"{len(failed)} questions of monitors failed: {_first(failed)}")
    meanwhile = [call for call in calls if call.succeeded and _within(call, times)]
    if not row.reaches_the_server:
        open_ones = [call for call in meanwhile if call.kind == "trading_flags" and _may_trade(call.answer)]
        verdict.require(not open_ones, f"{len(open_ones)} times an agent might trade while nothing could be known")
    before = [call for call in calls if call.kind == "trading_flags" and call.ended and call.ended < times.began]
    verdict.require(any(_may_trade(call.answer) for call in before), "the agent never was allowed to trade")
    if row.health is not None:
        answers = [call.answer for call in meanwhile if call.kind == "health"]
        verdict.require(bool(answers), "health() did not answer meanwhile")
        verdict.health = str(answers[-1].state) if answers else ""
        wrong = [answer for answer in answers if not re.search(row.health, repr(answer))]
        verdict.require(not wrong, f"health() did not name the state {len(wrong)} of {len(answers)} times: {wrong[:1]}")


def _commits(verdict: Verdict, row: Row, journal: Journal, times: Times) -> None:
    calls = journal.of(verdict.flavour, COMMITS)
    if row.at_commit:
        raised = Counter(str(call.error) for call in calls)
        verdict.require(set(raised) == {"ConnectionLost"}, f"frozen COMMITs raised {dict(raised)}")
        verdict.errors += raised


def _within(call: Call, times: Times) -> bool:
    """Is it an answer of the time when all was broken? One that was on its way before comes sooner than that."""
    return call.ended is not None and times.broken + ON_ITS_WAY_S <= call.ended <= times.ended


def _may_trade(flags: Any) -> bool:
    return bool(flags is not None and (flags.automated_trading_simulation or flags.automated_trading_live))


def compare_with_database(
    verdict: Verdict, journal: Journal, wallets: Iterable[str], database: psycopg.Connection[Any]
) -> None:
    """Is all there that was acknowledged, and nothing by half?"""
    rows = database.execute("SELECT id FROM trade_requests WHERE wallet_address = ANY(%s)", [list(wallets)]).fetchall()
    there: set[UUID] = {row[0] for row in rows}
    writes = [call for call in journal.of(verdict.flavour, WRITES | COMMITS) if call.ids]
    acknowledged = {trade_id for call in writes if call.succeeded for trade_id in call.ids}
    verdict.acknowledged = len(acknowledged)
    verdict.missing = len(acknowledged - there)
    verdict.partial = sum(1 for call in writes if len(there.intersection(call.ids)) not in (0, len(call.ids)))
    verdict.require(verdict.missing == 0, f"{verdict.missing} acknowledged trades are not in the database")
    verdict.require(verdict.partial == 0, f"{verdict.partial} blocks are there by half")
    verdict.require(bool(acknowledged), "nothing was acknowledged")
