# Generated from nexgent_db/aio/cache/prices.py by `make sync`: do not edit.
"""Prices: in Redis alone, the latest by their source's time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from nexgent_db.cache.breaker import CacheUnavailable
from nexgent_db.cache.keys import PRICE_MS
from nexgent_db.cache.scripts import script
from nexgent_db.models.base import TokenAddress
from nexgent_db.models.cache import TokenPrice
from nexgent_db.sync.cache.recovery import Recovery
from nexgent_db.sync.turns import in_turns


class Prices:
    """The latest price of each token, for an hour. Nothing here raises for Redis."""

    def __init__(self, recovery: Recovery) -> None:
        self._recovery = recovery

    def get_many(self, token_addresses: Sequence[TokenAddress]) -> dict[str, TokenPrice]:
        """The known prices, by token. Tokens without a price are left out; without Redis all are."""
        client = self._recovery.readable()
        if client is None or not token_addresses:
            return {}
        try:
            payloads = client.get(*(client.keys.price(token) for token in token_addresses))
        except CacheUnavailable:
            self._recovery.recover_soon()
            return {}
        prices = in_turns(_read_price, zip(token_addresses, payloads, strict=True))
        return {price.token_address: price for price in prices if price is not None}

    def set(self, price: TokenPrice) -> bool:
        """Store a price unless a newer one, by its source's time, is stored; whether it was stored."""
        return self.set_many([price]) == 1

    def set_many(self, prices: Iterable[TokenPrice]) -> int:
        """Store many prices as ``set`` does, in one round trip; the number of stored ones."""
        client = self._recovery.readable()
        latest: dict[str, TokenPrice] = {}
        for price in sorted(prices, key=lambda price: price.last_updated):
            latest[price.token_address] = price
        if client is None or not latest:
            return 0
        arguments: list[object] = [PRICE_MS]
        for pair in in_turns(_arguments, latest.values()):
            arguments += pair
        try:
            keys = [client.keys.price(token) for token in latest]
            return int(client.run(script("set_prices"), keys, *arguments))
        except CacheUnavailable:
            self._recovery.recover_soon()
            return 0


class _PriceDocument(msgspec.Struct, rename="camel"):
    price_sol: Decimal
    price_usd: Decimal
    last_updated: Annotated[datetime, msgspec.Meta(tz=True)]


_PRICE: Final = msgspec.json.Decoder(_PriceDocument)


def _arguments(price: TokenPrice) -> tuple[str, bytes]:
    """The time of its source, and the payload."""
    time = price.last_updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return time, _payload(price, time)


def _payload(price: TokenPrice, time: str) -> bytes:
    return msgspec.json.encode(
        {
            "lastUpdated": f"{time}Z",
            "priceSol": format(price.price_sol, "f"),
            "priceUsd": format(price.price_usd, "f"),
        }
    )


def _read_price(cached: tuple[str, bytes | None]) -> TokenPrice | None:
    token, payload = cached
    if payload is None:
        return None
    try:
        document = _PRICE.decode(payload)
        return TokenPrice(
            token_address=token,
            price_sol=document.price_sol,
            price_usd=document.price_usd,
            last_updated=document.last_updated,
        )
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
