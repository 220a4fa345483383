# Generated from nexgent_db/aio/_cache_prices.py by `make sync`: do not edit.
"""Prices, which are in Redis alone: the latest by the time of its source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

import msgspec

from nexgent_db._breaker import CacheUnavailable
from nexgent_db._cache_scripts import script
from nexgent_db.cache_keys import PRICE_MS
from nexgent_db.models._base import TokenAddress
from nexgent_db.models.cache import TokenPrice
from nexgent_db.sync._cache_upkeep import CacheUpkeep


class CachePrices(CacheUpkeep):
    """The part of the cache that keeps prices."""

    def prices(self, token_addresses: Sequence[TokenAddress]) -> dict[str, TokenPrice]:
        """The latest prices that are known, by token. A token without one is left out; without Redis all are."""
        link = self._readable()
        if link is None or not token_addresses:
            return {}
        try:
            payloads = link.get(*(link.keys.price(token) for token in token_addresses))
        except CacheUnavailable:
            self._recover_soon()
            return {}
        found = {}
        for token, payload in zip(token_addresses, payloads, strict=True):
            price = None if payload is None else _price(token, payload)
            if price is not None:
                found[token] = price
        return found

    def set_price(self, price: TokenPrice) -> bool:
        """Keep a price unless a newer one is known, by its source's time; whether it was kept."""
        return self.set_prices([price]) == 1

    def set_prices(self, prices: Iterable[TokenPrice]) -> int:
        """The same of many in one round trip; how many were kept."""
        link = self._readable()
        latest: dict[str, TokenPrice] = {}
        for price in sorted(prices, key=lambda price: price.last_updated):
            latest[price.token_address] = price
        if link is None or not latest:
            return 0
        arguments: list[object] = [PRICE_MS]
        for price in latest.values():
            time = price.last_updated.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
            arguments += (time, _price_payload(price, time))
        try:
            keys = [link.keys.price(token) for token in latest]
            return int(link.run(script("set_prices"), keys, *arguments))
        except CacheUnavailable:
            self._recover_soon()
            return 0


class _PriceDocument(msgspec.Struct, rename="camel"):
    price_sol: Decimal
    price_usd: Decimal
    last_updated: Annotated[datetime, msgspec.Meta(tz=True)]


_PRICE: Final = msgspec.json.Decoder(_PriceDocument)


def _price_payload(price: TokenPrice, time: str) -> bytes:
    return msgspec.json.encode(
        {
            "lastUpdated": f"{time}Z",
            "priceSol": format(price.price_sol, "f"),
            "priceUsd": format(price.price_usd, "f"),
        }
    )


def _price(token: str, payload: bytes) -> TokenPrice | None:
    try:
        found = _PRICE.decode(payload)
        return TokenPrice(
            token_address=token,
            price_sol=found.price_sol,
            price_usd=found.price_usd,
            last_updated=found.last_updated,
        )
    except (msgspec.MsgspecError, ValueError):
        return None
