# Generated from nexgent_db/aio/repositories/trade_requests.py by `make sync`: do not edit.
"""Trade requests: ``sql/trade_requests.sql``."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from nexgent_db.binding import query
from nexgent_db.models.trade_requests import TradeRequest
from nexgent_db.sync._repository import Repository


class TradeRequestRepository(Repository, sql="trade_requests"):
    """Which orders were made."""

    @query
    def list_by_ids(self, request_ids: Annotated[list[UUID], Field(max_length=10_000)]) -> list[TradeRequest]:
        """Those of these requests that were made, by id; 10,000 may be asked for at once."""
        ...
