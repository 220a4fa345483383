"""When the cache may be read, and when not: the states of the breaker, one after the other."""

from __future__ import annotations

import pytest

from nexgent_db._breaker import Breaker, State


def closed() -> Breaker:
    breaker = Breaker()
    breaker.found_well()
    breaker.caught_up(breaker.missed)
    assert breaker.may_read
    return breaker


def test_a_process_that_has_just_begun_makes_up_for_what_others_left_before_it_reads() -> None:
    breaker = Breaker()
    assert (breaker.state, breaker.may_read, breaker.answers) == (State.OPEN, False, False)
    breaker.found_well()
    assert (breaker.state, breaker.may_read, breaker.may_write()) == (State.CATCHING_UP, False, True)
    breaker.caught_up(breaker.missed)
    assert (breaker.state, breaker.reason) == (State.CLOSED, None)


@pytest.mark.parametrize("missed", [False, True])
def test_after_every_failure_it_is_caught_up_before_anything_is_read(missed: bool) -> None:
    breaker = closed()
    breaker.fail("away", missed=missed)
    assert (breaker.state, breaker.reason, breaker.openings) == (State.OPEN, "away", 1)
    breaker.fail("still", missed=missed)
    assert breaker.openings == 1
    breaker.found_well()
    assert breaker.state is State.CATCHING_UP
    breaker.caught_up(breaker.missed)
    assert breaker.may_read


def test_a_change_that_is_missed_while_catching_up_is_caught_up_too() -> None:
    breaker = closed()
    breaker.fail("away", missed=False)
    assert not breaker.may_write()
    breaker.found_well()
    missed = breaker.missed
    breaker.miss()
    breaker.caught_up(missed)
    assert breaker.state is State.CATCHING_UP
    breaker.caught_up(breaker.missed)
    assert breaker.may_read


def test_a_change_that_is_left_to_the_outbox_is_caught_up_without_a_failure() -> None:
    breaker = closed()
    breaker.miss()
    assert (breaker.state, breaker.answers, breaker.may_read) == (State.CATCHING_UP, True, False)
    breaker.caught_up(breaker.missed)
    assert (breaker.may_read, breaker.openings) == (True, 0)


def test_what_was_missed_while_it_was_away_again_is_not_counted_as_caught_up() -> None:
    breaker = closed()
    breaker.fail("away", missed=True)
    breaker.found_well()
    missed = breaker.missed
    breaker.fail("away again", missed=True)
    breaker.caught_up(missed)
    assert breaker.state is State.OPEN
    breaker.found_well()
    breaker.caught_up(missed)
    assert breaker.state is State.CATCHING_UP
