"""Ids: new ones, the request ids of on-chain transactions, and the ids of trades.

The database makes its own by the functions ``new_id()`` and ``trade_id_of(agent_id, request_id)``.
"""

from __future__ import annotations

import sys
from hashlib import sha256
from typing import Final
from uuid import UUID, uuid5

from nexgent_db.errors import InvalidInput
from nexgent_db.models.storable import NOT_UNICODE

__all__ = ["new_id", "request_id_of", "trade_id_of"]

REQUEST_NAMESPACE: Final = UUID("6f1d0c8e-7c0f-4e0a-9f64-0d5a3b6b1c52")
"""UUID v5 namespace of request ids that are derived from an on-chain transaction."""

if sys.version_info >= (3, 14):
    from uuid import uuid7 as new_id
else:
    from os import urandom
    from time import time_ns

    def new_id() -> UUID:
        """A UUID v7: 48 bits of milliseconds since 1970, 12 bits of their fraction, 62 random bits.

        Ids that rise with the time lie side by side in an index; random ones dirty a page each.
        """
        milliseconds, rest = divmod(time_ns(), 1_000_000)
        fraction = rest * 4096 // 1_000_000
        random = int.from_bytes(urandom(8), "big") >> 2
        return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | random)


def request_id_of(wallet_address: str, transaction_hash: str, transaction_leg: int = 0) -> UUID:
    """The request id of one leg of an on-chain transaction, as seen by one wallet: UUID v5 of the three.

    Raises InvalidInput for text that is not Unicode.
    """
    try:
        return uuid5(REQUEST_NAMESPACE, f"{wallet_address}/{transaction_hash}/{transaction_leg}")
    except UnicodeEncodeError:
        raise InvalidInput("wallet_address, transaction_hash", NOT_UNICODE) from None


def trade_id_of(agent_id: UUID, request_id: UUID) -> UUID:
    """The id that the transaction of an agent's order has; the SQL function ``trade_id_of`` returns the same.

    A UUID v8: the first 6 bytes of the request id, then the first 10 bytes of the SHA-256 of the agent's id and the
    request id, 16 bytes each, where version and variant take 4 bits each.
    """
    digest = sha256(agent_id.bytes + request_id.bytes).hexdigest()
    return UUID(f"{request_id.hex[:12]}8{digest[1:4]}8{digest[5:20]}")
