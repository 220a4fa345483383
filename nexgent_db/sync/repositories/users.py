# Generated from nexgent_db/aio/repositories/users.py by `make sync`: do not edit.
"""Users: ``sql/users.sql``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.binding import NOT_GIVEN, NotGiven, query
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
    def find_by_email(self, email: ShortText) -> User | None:
        """The user of this e-mail address, whatever its case."""
        ...

    @query
    def create(self, email: ShortText, password_hash: ShortText | None = None, user_id: UUID | None = None) -> User:
        """A new user, under ``user_id`` when given. Raises EmailTaken, whatever the address's case."""
        ...

    @query
    def update(
        self,
        user_id: UUID,
        email: ShortText | NotGiven = NOT_GIVEN,
        password_hash: ShortText | NotGiven | None = NOT_GIVEN,
    ) -> User | None:
        """Change what is given, leave the rest; None when there is no such user.

        A ``password_hash`` of None takes the password away. Raises EmailTaken when another user has the address, in
        any case.
        """
        ...

    @query
    def record_failed_login(self, user_id: UUID) -> User | None:
        """Count a failed log-in, and give the user as it is now; None when there is no such user.

        Failures at the same time all count. The fifth locks the account for 15 minutes; later ones count and do not
        prolong that. Once the lock has run out, the next failure is the first of a new count.
        """
        ...

    @query
    def reset_failed_logins(self, user_id: UUID) -> int:
        """Forget failures and lock after a log-in that succeeded; 0 when there was nothing to forget.

        Then nothing is written, so it may be called at every log-in.
        """
        ...

    @query
    def is_locked(self, user_id: UUID) -> bool:
        """Whether too many failed log-ins lock the account at this moment; False when there is no such user."""
        ...

    @query
    def delete(self, user_id: UUID) -> int:
        """Delete the user with its agents and everything of theirs; 0 when there is none. Its signals stay."""
        ...
