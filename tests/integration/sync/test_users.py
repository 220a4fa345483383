# Generated from tests/integration/aio/test_users.py by `make sync`: do not edit.
"""Users: partial updates, failed log-ins and the lock after five of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import EmailTaken, InvalidInput
from nexgent_db.models import User
from tests.support.faults.concurrently import concurrently


def new_user(db: Database) -> User:
    return db.users.create(f"{uuid4()}@example.org", "old hash")


def expire_lock(database_url: str, user_id: UUID) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE users SET locked_until = now() - interval '1 second' WHERE id = %s", [user_id])


@pytest.mark.parametrize("guesses", [1, 5, 6, 25])
def test_parallel_guesses_get_five_attempts(db: Database, guesses: int) -> None:
    user = db.users.create(f"{uuid4()}@example.org", "hash")
    begun = concurrently([partial(db.users.begin_login, user.id)] * guesses)
    assert sum(each is not None for each in begun) == min(guesses, 5)
    assert db.users.is_locked(user.id) == (guesses >= 5)
    assert (db.users.begin_login(user.id) is None) == (guesses >= 5)
    assert db.users.reset_failed_logins(user.id) == 1  # a success
    again = db.users.begin_login(user.id)
    assert again is not None
    assert (again.failed_login_attempts, again.locked_until, again.password_hash) == (1, None, user.password_hash)
    assert db.users.begin_login(uuid4()) is None


def test_update_changes_given_fields_only(db: Database) -> None:
    user = new_user(db)
    email = f"{uuid4()}@example.org"
    assert db.users.update(user.id) == user
    moved = db.users.update(user.id, email=email)
    assert moved == user.model_copy(update={"email": email})
    assert db.users.update(user.id, password_hash="new hash") == moved.model_copy(update={"password_hash": "new hash"})
    without = db.users.update(user.id, password_hash=None)
    assert without is not None
    assert (without.email, without.password_hash) == (email, None)
    assert db.users.update(uuid4(), email=f"{uuid4()}@example.org") is None


def test_taken_address_is_refused_and_nothing_changes(db: Database) -> None:
    taken, user = new_user(db), new_user(db)
    with pytest.raises(EmailTaken) as refused:
        db.users.update(user.id, email=taken.email.upper(), password_hash="new hash")
    assert refused.value.constraint == "users_lower_email_key"
    with pytest.raises(EmailTaken):
        db.users.create(taken.email.upper())
    assert db.users.find_by_id(user.id) == user
    with pytest.raises(InvalidInput, match="email"):
        db.users.update(user.id, email="x" * 256)
    assert db.users.update(user.id, email=user.email.upper()) is not None, "its own address in another case"


def test_concurrent_claims_of_address_succeed_once(db: Database) -> None:
    users = [new_user(db) for _ in range(2)]
    email = f"{uuid4()}@example.org"
    results = concurrently([partial(db.users.update, user.id, email=email) for user in users], return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["EmailTaken", "User"]


def test_concurrent_failures_all_count_and_lock(db: Database) -> None:
    user = new_user(db)
    results = concurrently([partial(db.users.record_failed_login, user.id)] * 20)
    assert sorted(result.failed_login_attempts for result in results if result is not None) == list(range(1, 21))
    found = db.users.find_by_id(user.id)
    assert found is not None
    assert found.failed_login_attempts == 20
    assert db.users.is_locked(user.id)


def test_fifth_failure_locks_for_15_minutes_and_later_ones_do_not_prolong_it(db: Database) -> None:
    user = new_user(db)
    for number in range(1, 5):
        failed = db.users.record_failed_login(user.id)
        assert failed is not None
        assert (failed.failed_login_attempts, failed.locked_until) == (number, None)
    assert not db.users.is_locked(user.id)
    fifth = db.users.record_failed_login(user.id)
    assert fifth is not None
    assert fifth.locked_until is not None
    left = fifth.locked_until - datetime.now(UTC)
    assert timedelta(minutes=14) < left < timedelta(minutes=15, seconds=30)
    sixth = db.users.record_failed_login(user.id)
    assert sixth is not None
    assert (sixth.failed_login_attempts, sixth.locked_until) == (6, fifth.locked_until)


def test_success_resets_count_and_lock(db: Database) -> None:
    user = new_user(db)
    for _ in range(5):
        db.users.record_failed_login(user.id)
    assert db.users.reset_failed_logins(user.id) == 1
    assert db.users.find_by_id(user.id) == user
    assert not db.users.is_locked(user.id)
    assert db.users.reset_failed_logins(user.id) == 0


def test_failure_after_expired_lock_starts_new_count(db: Database, database_url: str) -> None:
    user = new_user(db)
    for _ in range(7):
        db.users.record_failed_login(user.id)
    expire_lock(database_url, user.id)
    assert not db.users.is_locked(user.id)
    again = db.users.record_failed_login(user.id)
    assert again is not None
    assert (again.failed_login_attempts, again.locked_until) == (1, None)


def test_attempt_after_expired_lock_starts_new_count(db: Database, database_url: str) -> None:
    user = new_user(db)
    for _ in range(5):
        db.users.begin_login(user.id)
    assert db.users.begin_login(user.id) is None
    expire_lock(database_url, user.id)
    begun = [db.users.begin_login(user.id) for _ in range(6)]
    assert [each and each.failed_login_attempts for each in begun] == [1, 2, 3, 4, 5, None]


def test_failure_of_unknown_user_is_not_counted(db: Database) -> None:
    assert db.users.record_failed_login(uuid4()) is None
    assert db.users.reset_failed_logins(uuid4()) == 0
    assert not db.users.is_locked(uuid4())


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a b@example.org",
        " a@example.org",
        "a@example.org\n",
        "a\u200b@example.org",
        "\u202ea@example.org",
        "a\0@b.org",
        *(f"a{each}@example.org" for each in "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180f\u200f"),
        *(f"a{each}@example.org" for each in "\u2060\u2065\u2800\u3000\u3164\ufe00\ufe0f\ufeff\uffa0\ufff8"),
        *(f"a{each}@example.org" for each in "\U0001bca0\U0001d173\U000e0001\U000e0100\U000e0fff"),
    ],
    ids=ascii,
)
def test_address_with_what_does_not_show_is_refused(db: Database, email: str) -> None:
    user = db.users.create(f"{uuid4()}@example.org")
    with pytest.raises(InvalidInput, match="email"):
        db.users.create(email)
    with pytest.raises(InvalidInput, match="email"):
        db.users.update(user.id, email=email)
    assert db.users.find_by_id(user.id) == user


def test_letter_with_an_accent_is_the_same_however_it_is_written(db: Database) -> None:
    composed, decomposed = f"ren\u00e9{uuid4()}@example.org", "rene\u0301"
    decomposed = composed.replace("ren\u00e9", decomposed)
    user = db.users.create(decomposed)
    assert user.email == composed
    for given in (composed, decomposed, decomposed.upper().replace("RENE\u0301", "RENe\u0301")):
        assert db.users.find_by_email(given) == user
    with pytest.raises(EmailTaken):
        db.users.create(composed)
