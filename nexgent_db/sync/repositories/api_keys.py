# Generated from nexgent_db/aio/repositories/api_keys.py by `make sync`: do not edit.
"""API keys: ``sql/api_keys.sql``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from nexgent_db.errors import InvalidInput
from nexgent_db.models.api_keys import (
    ApiKey,
    NewApiKey,
    VerifiedApiKey,
    VerifiedApiKeyWithEmail,
    hash_of,
    new_secret,
    prefix_of,
)
from nexgent_db.models.base import Limit, ShortText
from nexgent_db.models.pages import BeforeUuid, Page, decode_cursor, make_page, one_more_than
from nexgent_db.models.storable import Timestamp, storable_text
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository

KeyName = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(storable_text)]
KeyPrefix = Annotated[str, StringConstraints(min_length=1, max_length=12), AfterValidator(storable_text)]
Scopes = Annotated[list[KeyName], Field(max_length=100)]
_START: Final = BeforeUuid()


class ApiKeyRepository(Repository, sql="api_keys"):
    """The keys with which programs log in. :meth:`create` shows a secret once; the database stores its hash."""

    def create(
        self, user_id: UUID, name: str, scopes: Sequence[str] = (), expires_at: datetime | None = None
    ) -> NewApiKey:
        """Create a key of the user; None as ``expires_at`` never expires. Only this call returns the secret.

        Raises InvalidInput for a name of 0 or more than 100 characters, a text instead of a list of scopes, or a time
        without zone; ForeignKeyViolation when there is no such user; CheckViolation when ``expires_at`` has passed.
        """
        secret = new_secret()
        key_hash = hash_of(secret)
        assert key_hash is not None
        if isinstance(scopes, str) or not isinstance(scopes, Sequence):  # a text is a sequence of texts too
            raise InvalidInput("scopes", f"a list of scopes is expected, not {type(scopes).__name__}")
        key = self.store(user_id, name, key_hash, prefix_of(secret), list(scopes), expires_at)
        return NewApiKey(key=key, secret=SecretStr(secret))

    def verify(self, secret: str) -> VerifiedApiKey | None:
        """The owner and the scopes of the key; None when it is unknown, expired or revoked.

        Malformed secrets return None without a query. Updates ``last_used_at`` at most once a minute, without waiting
        for other callers, so it cannot run in a read-only transaction.
        """
        key_hash = hash_of(secret)
        return None if key_hash is None else self.verify_hash(key_hash)

    def verify_with_email(self, secret: str) -> VerifiedApiKeyWithEmail | None:
        """The same as :meth:`verify`, with the owner's e-mail address, by one query as well."""
        key_hash = hash_of(secret)
        return None if key_hash is None else self.verify_hash_with_email(key_hash)

    @query
    def find_by_id(self, key_id: UUID) -> ApiKey | None:
        """The key of this id, expired and revoked ones included."""
        ...

    @query
    def store(
        self,
        user_id: UUID,
        name: KeyName,
        key_hash: ShortText,
        key_prefix: KeyPrefix,
        scopes: Scopes,
        expires_at: Timestamp | None,
    ) -> ApiKey:
        """Store a new key by its hash; :meth:`create` also makes the secret.

        Raises ForeignKeyViolation when there is no such user, CheckViolation when ``expires_at`` has passed.
        """
        ...

    @query
    def verify_hash(self, key_hash: ShortText) -> VerifiedApiKey | None:
        """The same as :meth:`verify`, by the secret's hash."""
        ...

    @query
    def verify_hash_with_email(self, key_hash: ShortText) -> VerifiedApiKeyWithEmail | None:
        """The same as :meth:`verify_with_email`, by the secret's hash."""
        ...

    @query
    def list_by_user(self, user_id: UUID, before: BeforeUuid = _START, limit: Limit | None = None) -> list[ApiKey]:
        """The user's keys, newest first, including expired and revoked ones; those after the key ``before`` when given.

        Raises ListTooLong without a limit, for more than 10,000 keys.
        """
        ...

    def page_by_user(self, user_id: UUID, limit: Limit = 100, cursor: str | None = None) -> Page[ApiKey]:
        """A page of the user's keys, newest first: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        before = decode_cursor(cursor, "api_keys", BeforeUuid)
        rows = self.list_by_user(user_id, before, one_more_than(limit))
        return make_page(rows, limit, "api_keys", "created_at")

    @query
    def revoke(self, user_id: UUID, key_id: UUID) -> ApiKey | None:
        """Revoke the key at once; revoking it again keeps the first time. None when the user has no such key."""
        ...
