"""API keys: the database stores their hash and a visible prefix."""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final

from pydantic import SecretStr

from nexgent_db.models.base import UUID, AwareDatetime, Field, Row

FULL_ACCESS: Final = "full_access"
"""The scope that grants every scope."""

_SECRET: Final = re.compile(r"nex_[A-Za-z0-9_-]{32}")
_PREFIX_LENGTH: Final = len("nex_") + 4


class ApiKey(Row):
    """One key of a user. The secret itself is never stored; ``key_hash`` is its SHA-256 in hex.

    ``model_dump`` and JSON leave ``key_hash`` out; read the attribute where it is needed.
    """

    id: UUID
    user_id: UUID
    name: str
    key_hash: str = Field(repr=False, exclude=True)
    key_prefix: str
    scopes: list[str] | None
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    last_used_at: AwareDatetime | None


class NewApiKey(Row):
    """A new key and its secret, which only this object has: ``secret.get_secret_value()``."""

    key: ApiKey
    secret: SecretStr


class VerifiedApiKey(Row):
    """The owner and the scopes of a valid key."""

    id: UUID
    user_id: UUID
    scopes: list[str]

    def has_scope(self, scope: str) -> bool:
        """Whether the key's scopes grant this one; ``full_access`` grants all."""
        return has_scope(self, scope)


class VerifiedApiKeyWithEmail(VerifiedApiKey):
    """The owner of a valid key, with the e-mail address, and the key's scopes."""

    email: str


def has_scope(key: VerifiedApiKey | ApiKey, scope: str) -> bool:
    """Whether the key's scopes grant this one; ``full_access`` grants all.

    Does not check expiry and revocation: ``api_keys.verify`` has checked them for the key that it returned.
    """
    scopes = key.scopes or ()
    return scope in scopes or FULL_ACCESS in scopes


def new_secret() -> str:
    """A secret of 24 random bytes: ``nex_`` and 32 characters of base64url."""
    return "nex_" + secrets.token_urlsafe(24)


def hash_of(secret: object) -> str | None:
    """The stored form of a secret: its SHA-256 in hex. None for a malformed secret.

    24 random bytes need neither salt nor a slow hash.
    """
    if not isinstance(secret, str) or _SECRET.fullmatch(secret) is None:
        return None
    return sha256(secret.encode()).hexdigest()


def prefix_of(secret: str) -> str:
    """The start of a secret, which may be shown."""
    return secret[:_PREFIX_LENGTH]
