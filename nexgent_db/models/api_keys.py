"""API keys: stored as a hash, recognised by a visible prefix."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

from pydantic import SecretStr

from nexgent_db.models._base import UUID, AwareDatetime, Field, Row

FULL_ACCESS: Final = "full_access"
"""The scope that grants all."""

_SECRET: Final = re.compile(r"nex_[A-Za-z0-9_-]{32}")
_PREFIX_LENGTH: Final = len("nex_") + 4


class ApiKey(Row):
    """One key of a user. The secret itself is never stored; ``key_hash`` is its SHA-256 in hex."""

    id: UUID
    user_id: UUID
    name: str
    key_hash: str = Field(repr=False)
    key_prefix: str
    scopes: list[str] | None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None


class NewApiKey(Row):
    """A key just made, and its secret: ``secret.get_secret_value()`` is the only time that it can be had."""

    key: ApiKey
    secret: SecretStr


class VerifiedApiKey(Row):
    """Whose key a secret is, and what it may do."""

    id: UUID
    user_id: UUID
    scopes: list[str]

    def has_scope(self, scope: str) -> bool:
        """Whether the key's scopes grant this one; ``full_access`` grants all."""
        return has_scope(self, scope)


def has_scope(key: VerifiedApiKey | ApiKey, scope: str) -> bool:
    """Whether the key's scopes grant this one; ``full_access`` grants all.

    Says nothing of expiry and revocation: what ``api_keys.verify`` returned has been checked for them.
    """
    scopes = key.scopes or ()
    return scope in scopes or FULL_ACCESS in scopes


def new_secret() -> str:
    """A secret of 24 random bytes: ``nex_`` and 32 characters of base64url."""
    return "nex_" + secrets.token_urlsafe(24)


def hash_of(secret: object) -> str | None:
    """What is stored of a secret: its SHA-256 in hex. None for what has not the form of a secret.

    24 random bytes need neither salt nor a slow hash.
    """
    if not isinstance(secret, str) or _SECRET.fullmatch(secret) is None:
        return None
    return sha256(secret.encode()).hexdigest()


def prefix_of(secret: str) -> str:
    """What may be shown of a secret."""
    return secret[:_PREFIX_LENGTH]
