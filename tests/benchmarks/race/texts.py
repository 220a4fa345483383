"""One SQL text in the parameter style of each driver, and the statements that this package sends."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from nexgent_db.queries.binding import BoundQuery, Call
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.repositories.trades import Trades

_NAME: Final = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")


@dataclass(frozen=True)
class Text:
    """A statement with ``:name`` parameters, and the same statement for drivers that write them otherwise."""

    named: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters, each once, in the order of ``$n``."""
        return tuple(dict.fromkeys(_NAME.findall(self.named)))

    @cached_property
    def numbered(self) -> str:
        """With ``$1 … $n``: asyncpg and PREPARE."""
        return _NAME.sub(lambda found: f"${self.names.index(found[1]) + 1}", self.named)

    @cached_property
    def pyformat(self) -> str:
        """With ``%(name)s``: psycopg."""
        return _NAME.sub(r"%(\1)s", self.named.replace("%", "%%"))


@dataclass(frozen=True)
class Statement:
    """A text and its values."""

    text: Text
    values: dict[str, Any]

    @property
    def positional(self) -> list[Any]:
        """The values of ``$1 … $n``."""
        return [self.values[name] for name in self.text.names]


def of_query(repository: type[Repository], name: str, *arguments: Any) -> Statement:
    """What a repository's method sends for these arguments, without its comments."""
    call = repository.queries[name].call(arguments, {})
    text = re.sub(r"^\s*--.*\n", "", call.text.decode(), flags=re.MULTILINE)
    values = {f"p{number}": value for number, value in enumerate(call.values, start=1)}
    return Statement(Text(re.sub(r"\$(\d+)", r":p\1", text)), values)


class _Sent(Exception):
    def __init__(self, call: Call) -> None:
        self.call = call


class _Recorder:
    """A session that sends nothing: it raises what it was given to send."""

    cache = None
    duplicates = None

    def run(self, bound: BoundQuery, call: Call) -> Any:
        raise _Sent(call)


def of_trade(trade: Callable[[Trades], object]) -> tuple[str, Sequence[Any]]:
    """The text with ``$1 … $n`` and the values that a trade sends, such as ``lambda trades: trades.buy(order)``."""
    try:
        trade(Trades(_Recorder()))  # type: ignore[arg-type]  # all that trades use of a session
    except _Sent as sent:
        return sent.call.text.decode(), sent.call.values
    raise AssertionError("the trade sent nothing")
