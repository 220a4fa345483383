"""A WSGI service that opens its database as it is imported: ``gunicorn --preload tests.support.servers.preloaded_app``.

``GET /user/ID`` answers with one row, ``POST /deposit`` with what a deposit changed; both with the worker's process id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final
from uuid import UUID

from nexgent_db import Database
from nexgent_db.models import DepositOrder

DB: Final = Database.from_env()
DB.open()


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answer one request; 500 with the error's text when it fails."""
    try:
        status, answer = "200 OK", _answer(environ)
    except Exception as error:
        status, answer = "500 Internal Server Error", {"error": f"{type(error).__name__}: {error}"}
    body = json.dumps({**answer, "pid": os.getpid()}, default=str).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _answer(environ: dict[str, Any]) -> dict[str, Any]:
    path = environ["PATH_INFO"]
    if path == "/deposit":
        order = DepositOrder.model_validate_json(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        made = DB.trades.deposit(order).transaction
        return {"id": made.id, "wallet": made.wallet_address}
    user = DB.users.find_by_id(UUID(path.removeprefix("/user/")))
    return {"id": user and user.id, "email": user and user.email}
