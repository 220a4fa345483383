# Generated from tests/integration/aio/test_api_keys.py by `make sync`: do not edit.
"""API keys: created once, verified by hash, expired or revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import CheckViolation, ForeignKeyViolation, InvalidInput
from tests.integration.sync.factories import Owner
from tests.support.faults.concurrently import concurrently


def changed(database_url: str, key_id: UUID, what: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(f"UPDATE api_keys SET {what} WHERE id = %s".encode(), [key_id])


def version_of(database_url: str, key_id: UUID) -> str:
    """Changes with every write of the row."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT xmin::text || ctid::text FROM api_keys WHERE id = %s", [key_id]).fetchone()
    assert row is not None
    return str(row[0])


def test_key_is_shown_once_and_verifies(db: Database, owner: Owner) -> None:
    made = db.api_keys.create(owner.user_id, "bot", ["signals"])
    secret = made.secret.get_secret_value()
    assert made.key.key_hash == sha256(secret.encode()).hexdigest()
    assert (made.key.key_prefix, made.key.scopes, made.key.expires_at) == (secret[:8], ["signals"], None)
    verified = db.api_keys.verify(secret)
    assert verified is not None
    assert (verified.id, verified.user_id, verified.scopes) == (made.key.id, owner.user_id, ["signals"])
    assert verified.has_scope("signals")
    assert not verified.has_scope("full_access")
    for shown in (made, verified, db.api_keys.list_by_user(owner.user_id)):
        assert secret not in repr(shown)
        assert made.key.key_hash not in repr(shown)


def test_unknown_secret_and_malformed_one_do_not_verify(db: Database, database_url: str) -> None:
    assert db.api_keys.verify("nex_" + "A" * 32) is None
    closed = Database(database_url)  # a query would raise
    malformed: list[Any] = ["", "nex_", "nex_" + "A" * 31, "nex_" + "A" * 33, "nex_" + "A" * 31 + "\n", None, 7]
    for secret in malformed:
        assert closed.api_keys.verify(secret) is None


def test_revoked_key_does_not_verify_and_stays_as_first_revoked(db: Database, owner: Owner) -> None:
    made = db.api_keys.create(owner.user_id, "bot")
    assert db.api_keys.revoke(uuid4(), made.key.id) is None
    assert db.api_keys.verify(made.secret.get_secret_value()) is not None, "another's word counts nothing"
    first = db.api_keys.revoke(owner.user_id, made.key.id)
    assert first is not None
    assert first.revoked_at is not None
    assert db.api_keys.verify(made.secret.get_secret_value()) is None
    assert db.api_keys.revoke(owner.user_id, made.key.id) == first


def test_expired_key_does_not_verify(db: Database, owner: Owner, database_url: str) -> None:
    made = db.api_keys.create(owner.user_id, "bot", expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert db.api_keys.verify(made.secret.get_secret_value()) is not None
    changed(database_url, made.key.id, "created_at = now() - interval '2 h', expires_at = now() - interval '1 second'")
    assert db.api_keys.verify(made.secret.get_secret_value()) is None


def test_invalid_key_input_is_refused(db: Database, owner: Owner) -> None:
    text: Any = "signals"
    for refused in (
        partial(db.api_keys.create, owner.user_id, ""),
        partial(db.api_keys.create, owner.user_id, "x" * 101),
        partial(db.api_keys.create, owner.user_id, "x", text),
        partial(db.api_keys.create, owner.user_id, "x", [""]),
        partial(db.api_keys.create, owner.user_id, "x", [], datetime(2099, 1, 1)),  # noqa: DTZ001
    ):
        with pytest.raises(InvalidInput):
            refused()
    with pytest.raises(ForeignKeyViolation):
        db.api_keys.create(uuid4(), "nobody's")
    with pytest.raises(CheckViolation) as past:
        db.api_keys.create(owner.user_id, "x", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert past.value.constraint == "api_keys_expires_at_check"
    assert db.api_keys.list_by_user(owner.user_id) == []


def test_list_returns_newest_key_first_including_ended_keys(db: Database, owner: Owner) -> None:
    made = [db.api_keys.create(owner.user_id, name) for name in ("a", "b", "c")]
    db.api_keys.revoke(owner.user_id, made[1].key.id)
    assert [key.name for key in db.api_keys.list_by_user(owner.user_id)] == ["c", "b", "a"]
    assert [key.name for key in db.api_keys.list_by_user(owner.user_id, limit=1)] == ["c"]
    assert db.api_keys.list_by_user(uuid4()) == []


def test_use_is_recorded_once_minute(db: Database, owner: Owner, database_url: str) -> None:
    made = db.api_keys.create(owner.user_id, "bot")
    secret, key_id = made.secret.get_secret_value(), made.key.id
    assert made.key.last_used_at is None
    db.api_keys.verify(secret)
    written = version_of(database_url, key_id)
    assert all(concurrently([partial(db.api_keys.verify, secret)] * 10))
    assert version_of(database_url, key_id) == written
    changed(database_url, key_id, "last_used_at = now() - interval '61 seconds'")
    db.api_keys.verify(secret)
    (key,) = db.api_keys.list_by_user(owner.user_id)
    assert key.last_used_at is not None
    assert datetime.now(UTC) - key.last_used_at < timedelta(seconds=30)


def test_verification_does_not_wait_to_record_use(db: Database, owner: Owner, database_url: str) -> None:
    made = db.api_keys.create(owner.user_id, "bot")
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT FROM api_keys WHERE id = %s FOR UPDATE", [made.key.id])
        with db.transaction(statement_timeout_s=5) as tx:
            assert tx.api_keys.verify(made.secret.get_secret_value()) is not None
