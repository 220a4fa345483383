"""Ids that are made here and not by the database. Its own come from the schema's function ``new_id()``."""

from __future__ import annotations

import sys
from uuid import UUID

__all__ = ["new_id"]

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
