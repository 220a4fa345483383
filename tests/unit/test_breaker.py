"""When the cache may be read, and when not: the states of the breaker, one after the other."""

from __future__ import annotations

import pytest

from nexgent_db.cache.breaker import Breaker, State


def closed() -> Breaker:
    breaker = Breaker()
    breaker.mark_reachable()
    breaker.mark_caught_up(breaker.unapplied_writes)
    assert breaker.may_read
    return breaker


def test_new_breaker_catches_up_before_reads() -> None:
    breaker = Breaker()
    assert (breaker.state, breaker.may_read, breaker.answers) == (State.OPEN, False, False)
    breaker.mark_reachable()
    assert (breaker.state, breaker.may_read, breaker.may_write()) == (State.CATCHING_UP, False, True)
    breaker.mark_caught_up(breaker.unapplied_writes)
    assert (breaker.state, breaker.reason) == (State.CLOSED, None)


@pytest.mark.parametrize("unapplied", [False, True])
def test_breaker_catches_up_after_each_failure(unapplied: bool) -> None:
    breaker = closed()
    breaker.fail("away", unapplied_write=unapplied)
    assert (breaker.state, breaker.reason, breaker.openings) == (State.OPEN, "away", 1)
    breaker.fail("still", unapplied_write=unapplied)
    assert breaker.openings == 1
    breaker.mark_reachable()
    assert breaker.state is State.CATCHING_UP
    breaker.mark_caught_up(breaker.unapplied_writes)
    assert breaker.may_read


def test_write_unapplied_during_catch_up_is_caught_up_too() -> None:
    breaker = closed()
    breaker.fail("away", unapplied_write=False)
    assert not breaker.may_write()
    breaker.mark_reachable()
    unapplied = breaker.unapplied_writes
    breaker.add_unapplied_write()
    breaker.mark_caught_up(unapplied)
    assert breaker.state is State.CATCHING_UP
    breaker.mark_caught_up(breaker.unapplied_writes)
    assert breaker.may_read


def test_write_left_to_outbox_is_caught_up_without_failure() -> None:
    breaker = closed()
    breaker.add_unapplied_write()
    assert (breaker.state, breaker.answers, breaker.may_read) == (State.CATCHING_UP, True, False)
    breaker.mark_caught_up(breaker.unapplied_writes)
    assert (breaker.may_read, breaker.openings) == (True, 0)


def test_write_unapplied_after_second_failure_is_not_caught_up() -> None:
    breaker = closed()
    breaker.fail("away", unapplied_write=True)
    breaker.mark_reachable()
    unapplied = breaker.unapplied_writes
    breaker.fail("away again", unapplied_write=True)
    breaker.mark_caught_up(unapplied)
    assert breaker.state is State.OPEN
    breaker.mark_reachable()
    breaker.mark_caught_up(unapplied)
    assert breaker.state is State.CATCHING_UP
