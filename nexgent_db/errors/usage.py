"""Misuse and bad input: the caller is at fault."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple
from uuid import UUID

from nexgent_db.errors.base import NexgentError

__all__ = [
    "BlockMisuse",
    "InvalidInput",
    "InvalidTradingConfig",
    "WalletKeyMissing",
]


class BlockMisuse(NexgentError, RuntimeError):
    """The database object was used inside its own open transaction, or a transaction's object after its end.

    Nothing was changed. Never retry: the program is at fault.
    """


class Fault(NamedTuple):
    """What is wrong with one value: its path, the problem, and the class of the value, None when it is not known.

    The value itself is not kept: it may be a secret.
    """

    field: str
    message: str
    value_class: str | None


class InvalidInput(NexgentError):
    """A value cannot be stored exactly as given; ``field`` names it. ``faults`` has each path at fault, and why.

    Nothing was changed. Never retry: the value is at fault.
    """

    http_status = 422

    def __init__(self, field: str, problem: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.faults = tuple(faults) or (Fault(field, problem, None),)


class InvalidTradingConfig(InvalidInput):
    """A trading configuration breaks its rules. ``faults`` has every path at fault, as in the JSON, and the problem."""

    def __init__(self, faults: Sequence[Fault], agent_id: UUID | None = None) -> None:
        shown = [f"{path}: {problem}" if path else problem for path, problem, _ in faults[:_FAULTS_SHOWN]]
        if len(faults) > _FAULTS_SHOWN:
            shown.append(f"and {len(faults) - _FAULTS_SHOWN} faults more")
        owner = "" if agent_id is None else f" of agent {agent_id}"
        super().__init__(f"trading configuration{owner}", "; ".join(shown), faults)
        self.field = "trading_config"
        self.agent_id = agent_id


_FAULTS_SHOWN: Final = 20


class WalletKeyMissing(NexgentError):
    """The keyring has no key of this wallet.

    Nothing was changed. Repair the environment of the process: it holds the keys.
    """

    def __init__(self, wallet_address: str, loaded: int) -> None:
        # What does not look like an address may be a key that was put in its place.
        named = wallet_address if _ADDRESS.fullmatch(wallet_address) else "the given text"
        super().__init__(f"none of the {loaded} keys of WALLET_1, WALLET_2, … is that of {named}")
        self.loaded = loaded


_ADDRESS: Final = re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}")
