"""API keys: ``sql/api_keys.sql``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr, StringConstraints

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.errors import InvalidInput
from nexgent_db.models._base import Limit, ShortText
from nexgent_db.models._storable import storable_text
from nexgent_db.models.api_keys import ApiKey, NewApiKey, VerifiedApiKey, hash_of, new_secret, prefix_of

KeyName = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(storable_text)]
KeyPrefix = Annotated[str, StringConstraints(min_length=1, max_length=12), AfterValidator(storable_text)]
Scopes = Annotated[list[KeyName], Field(max_length=100)]


class ApiKeyRepository(Repository, sql="api_keys"):
    """What lets programs in. A secret is shown once; the database has its hash."""

    async def create(
        self, user_id: UUID, name: str, scopes: Sequence[str] = (), expires_at: datetime | None = None
    ) -> NewApiKey:
        """A new key of the user, for ever when ``expires_at`` is None; the only time that its secret is shown.

        Raises InvalidInput for a name of 0 or more than 100 characters, a list of scopes that is a text, or a time
        without zone; ForeignKeyViolation when there is no such user; CheckViolation when ``expires_at`` has passed.
        """
        secret = new_secret()
        key_hash = hash_of(secret)
        assert key_hash is not None
        if isinstance(scopes, str) or not isinstance(scopes, Sequence):  # a text is a sequence of texts too
            raise InvalidInput("scopes", f"a list of scopes is expected, not {type(scopes).__name__}")
        key = await self.store(user_id, name, key_hash, prefix_of(secret), list(scopes), expires_at)
        return NewApiKey(key=key, secret=SecretStr(secret))

    async def verify(self, secret: str) -> VerifiedApiKey | None:
        """Whose key this is and what it may do; None when it is unknown, expired or revoked.

        What has not the form of a secret is None without a query. The use is recorded, once a minute at the most and
        without waiting for anybody: so not in a read-only transaction.
        """
        key_hash = hash_of(secret)
        return None if key_hash is None else await self.verify_hash(key_hash)

    @query
    async def store(
        self,
        user_id: UUID,
        name: KeyName,
        key_hash: ShortText,
        key_prefix: KeyPrefix,
        scopes: Scopes,
        expires_at: AwareDatetime | None,
    ) -> ApiKey:
        """A new key of a secret made elsewhere: see :meth:`create`, which makes one."""
        ...

    @query
    async def verify_hash(self, key_hash: ShortText) -> VerifiedApiKey | None:
        """The same as :meth:`verify` by the secret's hash."""
        ...

    @query
    async def list_by_user(self, user_id: UUID, limit: Limit = 100) -> list[ApiKey]:
        """The user's keys, newest first, with those that have expired or were revoked."""
        ...

    @query
    async def revoke(self, user_id: UUID, key_id: UUID) -> ApiKey | None:
        """The key lets nobody in from now on, for ever; None when it is not the user's. The first time stays."""
        ...
