"""The application: one database for each process, opened when it starts and closed when it ends.

``uvicorn price_alerts.app:app --workers 2`` runs it, with DATABASE_URL as the role nexgent_app, and REDIS_URL.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from nexgent_db import AsyncDatabase
from nexgent_db.errors import NexgentError
from price_alerts import operations, routes

_LOG = logging.getLogger("price_alerts")
MIGRATIONS = {"price_alerts": Path(__file__).with_name("migrations")}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database and refuse to start on a schema or roles that this release was not written for."""
    async with AsyncDatabase.from_env(migrations=MIGRATIONS, on_query=operations.QUERY_METRICS) as database:
        await database.assert_schema()
        await database.assert_tenants()
        maintenance = asyncio.create_task(database.cache.maintenance.run())
        app.state.database = database
        try:
            yield
        finally:
            maintenance.cancel()
            with suppress(asyncio.CancelledError):
                await maintenance


app = FastAPI(title="Price alerts", lifespan=lifespan)
app.include_router(routes.router)
app.include_router(operations.router)


@app.exception_handler(NexgentError)
async def answer_error(request: Request, error: NexgentError) -> JSONResponse:
    """A fault of the request is answered with its figures; a fault of ours with its code, and it goes to the log."""
    status = error.http_status
    if status < 500:
        return JSONResponse(error.to_json(), status)
    _LOG.error("%s %s: %s", request.method, request.url.path, error)
    return JSONResponse({"code": error.code}, status, {"Retry-After": "1"} if status == 503 else None)
