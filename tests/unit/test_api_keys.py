"""Secrets of API keys: their format, their stored hash and prefix, and where they are shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from pydantic import SecretStr

from nexgent_db.models import ApiKey, NewApiKey, VerifiedApiKey, has_scope
from nexgent_db.models.api_keys import hash_of, new_secret, prefix_of

SECRET = "nex_" + "aB3-_x78" * 4


def test_secrets_share_format_and_are_unique() -> None:
    secrets = {new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert all(re.fullmatch(r"nex_[A-Za-z0-9_-]{32}", secret) for secret in secrets)


def test_stored_key_has_hash_and_prefix_only() -> None:
    assert hash_of(SECRET) == sha256(SECRET.encode()).hexdigest()
    assert prefix_of(SECRET) == "nex_aB3-"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "nex_",
        SECRET[:-1],
        SECRET + "x",
        SECRET + "\n",
        " " + SECRET,
        SECRET.upper(),
        "NEX_" + SECRET[4:],
        "sk__" + SECRET[4:],
        SECRET[:-1] + "+",
        SECRET[:-1] + "\0",
        SECRET[:-1] + "\udc80",
        SECRET[:-1] + "é",
        SECRET.encode(),
        None,
        7,
    ],
)
def test_malformed_secret_has_no_hash(wrong: object) -> None:
    assert hash_of(wrong) is None


@pytest.mark.parametrize(
    ("scopes", "scope", "granted"),
    [
        (["signals"], "signals", True),
        (["signals"], "trades", False),
        (["signals"], "signal", False),
        (["signals"], "full_access", False),
        (["signals", "full_access"], "trades", True),
        ([], "signals", False),
    ],
)
def test_scope_is_granted_by_itself_or_by_full_access(scopes: list[str], scope: str, granted: bool) -> None:
    assert VerifiedApiKey(id=UUID(int=1), user_id=UUID(int=2), scopes=scopes).has_scope(scope) is granted


def test_new_key_shows_secret_only_on_request() -> None:
    key = ApiKey(
        id=UUID(int=1),
        user_id=UUID(int=2),
        name="k",
        key_hash="0badc0de",
        key_prefix="nex_aB3-",
        scopes=None,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    assert not has_scope(key, "signals")
    new = NewApiKey(key=key, secret=SecretStr(SECRET))
    for shown in (repr(new), str(new), f"{new}", repr([new]), str(new.model_dump()), repr(vars(new))):
        assert SECRET not in shown
    assert "0badc0de" not in repr(new)
    assert new.secret.get_secret_value() == SECRET
