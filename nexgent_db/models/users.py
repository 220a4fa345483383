"""Users: the owners of agents, signals and API keys."""

from __future__ import annotations

from nexgent_db.models.base import UUID, AwareDatetime, Field, Row


class User(Row):
    """One account. ``locked_until`` lies in the future while too many failed log-ins lock it.

    ``model_dump`` and JSON leave ``password_hash`` out; read the attribute where it is needed.
    """

    id: UUID
    email: str
    password_hash: str | None = Field(repr=False, exclude=True)
    created_at: AwareDatetime
    failed_login_attempts: int
    locked_until: AwareDatetime | None


Users = list[User]
"""A list of users, for classes with a method ``list``."""
