# Generated from nexgent_db/aio/repositories/users.py by `make sync`: do not edit.
"""Users: ``sql/users.sql``."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from nexgent_db.models.base import Email, Limit, ShortText
from nexgent_db.models.pages import AfterTime, Page, decode_cursor, make_page, one_more_than
from nexgent_db.models.users import User, Users
from nexgent_db.queries.binding import query
from nexgent_db.queries.values import NOT_GIVEN, NotGiven
from nexgent_db.sync.repositories.base import Repository

_FIRST: Final = AfterTime()


class UserRepository(Repository, sql="users"):
    """Users and their log-ins."""

    @query
    def find_by_id(self, user_id: UUID) -> User | None:
        """The user of this id."""
        ...

    @query
    def find_by_email(self, email: ShortText) -> User | None:
        """The user of this e-mail address; upper and lower case of A to Z are the same.

        So are the two ways to write a letter with an accent.
        """
        ...

    @query
    def find_first(self) -> User | None:
        """The earliest user; None while there is none."""
        ...

    @query
    def list(self, after: AfterTime = _FIRST, limit: Limit | None = None) -> Users:
        """All users, the earliest first; those after the key ``after`` when it is given.

        Raises ListTooLong without a limit, for more than 10,000 users.
        """
        ...

    def page(self, limit: Limit = 100, cursor: str | None = None) -> Page[User]:
        """A page of all users, the earliest first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "users", AfterTime)
        return make_page(self.list(after, one_more_than(limit)), limit, "users", "created_at")

    @query
    def create(self, email: Email, password_hash: ShortText | None = None, user_id: UUID | None = None) -> User:
        """Create a user, with the id ``user_id`` when given.

        Raises InvalidInput for an address with blanks or invisible characters, such as a line break; EmailTaken when
        another user has the address, in upper or lower case.
        """
        ...

    @query
    def update(
        self,
        user_id: UUID,
        email: Email | NotGiven = NOT_GIVEN,
        password_hash: ShortText | NotGiven | None = NOT_GIVEN,
    ) -> User | None:
        """Update the given columns; None when there is no such user.

        A ``password_hash`` of None removes the password. Raises EmailTaken when another user has the address, in upper
        or lower case.
        """
        ...

    @query
    def begin_login(self, user_id: UUID) -> User | None:
        """Count an attempt to log in, before its password is compared; None when it must be refused.

        Returns the user when the attempt may be made. The fifth since the last success may still be made and locks the
        account for 15 minutes: however many begin at once, five may be made. After a success, call
        :meth:`reset_failed_logins`; a failure is counted already. After the lock has expired, the next attempt starts a
        new count at 1. None also when there is no such user.
        """
        ...

    @query
    def record_failed_login(self, user_id: UUID) -> User | None:
        """Count a failed log-in; returns the updated user, None when there is no such user.

        For failures that :meth:`begin_login` has not counted: it alone refuses guesses that are made at once.
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
        """Whether the account is locked now; False when there is no such user. To show it: :meth:`begin_login` decides
        who may try."""
        ...

    @query
    def delete(self, user_id: UUID) -> int:
        """Delete the user with its API keys and its agents with all their rows; 0 when there is no such user.

        Its signals stay; their ``user_id`` becomes None.
        """
        ...
