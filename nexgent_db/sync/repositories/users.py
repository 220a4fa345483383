# Generated from nexgent_db/aio/repositories/users.py by `make sync`: do not edit.
"""Users: ``sql/users.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.models.base import ShortText
from nexgent_db.models.users import User
from nexgent_db.queries.binding import NOT_GIVEN, NotGiven, query
from nexgent_db.sync.repositories.base import Repository


class UserRepository(Repository, sql="users"):
    """Users and their log-ins."""

    @query
    def find_by_id(self, user_id: UUID) -> User | None:
        """The user of this id."""
        ...

    @query
    def find_by_email(self, email: ShortText) -> User | None:
        """The user of this e-mail address; upper and lower case are the same."""
        ...

    @query
    def create(self, email: ShortText, password_hash: ShortText | None = None, user_id: UUID | None = None) -> User:
        """Create a user, with the id ``user_id`` when given.

        Raises EmailTaken when another user has the address, in upper or lower case.
        """
        ...

    @query
    def update(
        self,
        user_id: UUID,
        email: ShortText | NotGiven = NOT_GIVEN,
        password_hash: ShortText | NotGiven | None = NOT_GIVEN,
    ) -> User | None:
        """Update the given columns; None when there is no such user.

        A ``password_hash`` of None removes the password. Raises EmailTaken when another user has the address, in upper
        or lower case.
        """
        ...

    @query
    def record_failed_login(self, user_id: UUID) -> User | None:
        """Count a failed log-in; returns the updated user, None when there is no such user.

        Concurrent failures all count. The fifth locks the account for 15 minutes; further failures count but do not
        prolong the lock. After the lock has expired, the next failure starts a new count at 1.
        """
        ...

    @query
    def reset_failed_logins(self, user_id: UUID) -> int:
        """Clear the count of failed log-ins and the lock, after a successful log-in.

        Writes no row and returns 0 when both are clear, so a service may call it at every log-in.
        """
        ...

    @query
    def is_locked(self, user_id: UUID) -> bool:
        """Whether the account is locked now; False when there is no such user."""
        ...

    @query
    def delete(self, user_id: UUID) -> int:
        """Delete the user with its API keys and its agents with all their rows; 0 when there is no such user.

        Its signals stay; their ``user_id`` becomes None.
        """
        ...
