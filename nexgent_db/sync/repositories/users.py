# Generated from nexgent_db/aio/repositories/users.py by `make sync`: do not edit.
"""Users: ``sql/users.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import query
from nexgent_db.models._base import ShortText
from nexgent_db.models.users import User
from nexgent_db.sync._repository import Repository


class UserRepository(Repository, sql="users"):
    """Who owns agents."""

    @query
    def find_by_id(self, user_id: UUID) -> User | None:
        """The user of this id."""
        ...

    @query
    def find_by_email(self, email: str) -> User | None:
        """The user of this e-mail address, whatever its case."""
        ...

    @query
    def create(self, email: ShortText, password_hash: ShortText | None = None, user_id: UUID | None = None) -> User:
        """A new user, under ``user_id`` when given. Raises UniqueViolation when the address is taken in any case."""
        ...

    @query
    def delete(self, user_id: UUID) -> int:
        """Delete the user with its agents and everything of theirs; 0 when there is none. Its signals stay."""
        ...
