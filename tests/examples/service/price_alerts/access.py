"""Who asks: an API key, its scopes, and the database as its user sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from nexgent_db import AsyncDatabase
from nexgent_db.models import VerifiedApiKey

_BEARER = HTTPBearer(description="An API key: nex_…")


def service_database(request: Request) -> AsyncDatabase:
    """The process's one database, which the lifespan opened. It sees all users."""
    database = request.app.state.database
    assert isinstance(database, AsyncDatabase)
    return database


ServiceDatabase = Annotated[AsyncDatabase, Depends(service_database)]


async def verified_key(
    database: ServiceDatabase, credentials: Annotated[HTTPAuthorizationCredentials, Depends(_BEARER)]
) -> VerifiedApiKey:
    """The key of the request. 401 for one that is unknown, expired or revoked."""
    key = await database.api_keys.verify(credentials.credentials)
    if key is None:
        raise HTTPException(401, "the API key is unknown, expired or revoked", {"WWW-Authenticate": "Bearer"})
    return key


def needs(scope: str) -> Callable[..., Awaitable[AsyncDatabase]]:
    """A dependency: the database as the key's user sees it. 403 for a key without the scope.

    It costs nothing to make, and PostgreSQL hides the rows of other users, whatever a request names.
    """

    async def tenant(database: ServiceDatabase, key: Annotated[VerifiedApiKey, Depends(verified_key)]) -> AsyncDatabase:
        if not key.has_scope(scope):
            raise HTTPException(403, f"the API key lacks the scope {scope}")
        return database.for_tenant(key.user_id)

    return tenant


ReadsAlerts = Annotated[AsyncDatabase, Depends(needs("alerts:read"))]
WritesAlerts = Annotated[AsyncDatabase, Depends(needs("alerts:write"))]
Trades = Annotated[AsyncDatabase, Depends(needs("trade"))]
