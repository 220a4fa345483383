"""API keys: stored as a hash, recognised by a visible prefix."""

from __future__ import annotations

from nexgent_db.models._base import UUID, AwareDatetime, Field, Row


class ApiKey(Row):
    """One key of a user. The secret itself is never stored; ``key_hash`` is its SHA-256 in hex."""

    id: UUID
    user_id: UUID
    name: str
    key_hash: str = Field(repr=False)
    key_prefix: str
    scopes: list[str] | None
    created_at: AwareDatetime
