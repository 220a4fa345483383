"""How values are written for PostgreSQL: numbers as bigint, and long lists in steps, between which others may run."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Dumper, PyFormat, Transformer
from psycopg.pq import Format
from psycopg.types.array import ListDumper
from psycopg.types.numeric import Int8Dumper

SLICE_SIZE: Final = 500
"""How many items of a list one step works on: a millisecond or two."""


@dataclass(frozen=True, slots=True)
class DumpedList:
    """A list as PostgreSQL reads it, and the type of the array."""

    oid: int
    text: bytes


class DumpedListDumper(Dumper):
    """Hands over what was written before."""

    format = Format.TEXT

    def get_key(self, obj: DumpedList, format: PyFormat) -> Any:
        """One dumper for each type of array."""
        return (self.cls, obj.oid)

    def upgrade(self, obj: DumpedList, format: PyFormat) -> DumpedListDumper:
        """The dumper of this type of array."""
        dumper = DumpedListDumper(self.cls)
        dumper.oid = obj.oid
        return dumper

    def dump(self, obj: DumpedList) -> Buffer:
        """The text."""
        return obj.text


def adapters() -> AdaptersMap:
    """Every int is bound as bigint: one prepared statement for each query, whatever the size of its numbers."""
    known = AdaptersMap(psycopg.adapters)
    known.register_dumper(int, Int8Dumper)
    known.register_dumper(DumpedList, DumpedListDumper)
    return known


class Context:
    """The context from which psycopg takes its adapters."""

    adapters = adapters()
    connection = None


def is_long(value: object) -> bool:
    """Whether a value is a list that is worked on in steps."""
    return type(value) is list and len(value) > SLICE_SIZE


def dump_in_steps(values: Sequence[Any]) -> Generator[None, None, tuple[Any, ...]]:
    """The values of a statement, the long lists among them written in steps."""
    dumped = list(values)
    for place, value in enumerate(values):
        if is_long(value):
            dumped[place] = yield from _dump_list(value)
    return tuple(dumped)


def _dump_list(items: list[Any]) -> Generator[None, None, object]:
    """The list as the driver would write it, in steps. One that cannot be written is returned as it is: the driver
    raises its error when it is sent."""
    try:
        dumper = Transformer(Context()).get_dumper(items, PyFormat.AUTO)
        if not isinstance(dumper, ListDumper):
            return items
        parts: list[bytes] = []
        for start in range(0, len(items), SLICE_SIZE):
            yield
            part = dumper.dump(items[start : start + SLICE_SIZE])
            assert part is not None
            parts.append(bytes(part)[1:-1])  # without its braces
    except (psycopg.Error, ValueError, TypeError, AttributeError, RecursionError):
        return items
    return DumpedList(dumper.oid, b"{" + dumper.delimiter.join(parts) + b"}")
