"""``python -m tests.chaos``: break everything down, and count what goes wrong. Exit code 1 when anything does.

All parts run one after another, in one to three hours; ``--only`` runs one, with its amounts as options. The seed that
is printed makes the same choices again with ``--seed``; which of them meets which call is up to the machine.
docs/pages/reference/chaos.md has what each part does and its figures.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from typing import Any, Final

from tests.chaos import amounts
from tests.chaos.amounts import Amounts

PARTS: Final[dict[str, tuple[type[Amounts], str]]] = {
    "trades": (amounts.Trades, "tests.chaos.processes"),
    "commits": (amounts.Commits, "tests.chaos.commits"),
    "wallet": (amounts.OneWallet, "tests.chaos.one_wallet"),
    "cancellations": (amounts.Cancellations, "tests.chaos.commandline"),
    "outages": (amounts.Outages, "tests.chaos.outages"),
    "clock": (amounts.Clock, "tests.chaos.clock"),
    "mixed": (amounts.Mixed, "tests.chaos.mixed"),
    "isolation": (amounts.Isolation, "tests.chaos.isolation"),
    "replicas": (amounts.Replicas, "tests.chaos.replicas"),
    "cache": (amounts.Cache, "tests.chaos.cache"),
}
"""Of each part its amounts, and the module whose ``run`` takes them and a seed and returns what it found. It is
imported when it runs: the processes of the first part import this module too."""


def main() -> int:
    """Run one part, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="this part alone; its amounts are options then")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--minutes", type=float, help="of the search for stale reads, and of the mixed load")
    only = parser.parse_known_args()[0].only
    names = [field.name for field in fields(PARTS[only][0])] if only else []
    for field in fields(PARTS[only][0]) if only else ():
        if field.name != "minutes":
            parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    options = parser.parse_args()
    failed = []
    for name in [only] if only else PARTS:
        part = PARTS[name][0]()
        given: dict[str, Any] = {one: getattr(options, one) for one in names if getattr(options, one) is not None}
        if not only and options.minutes is not None and hasattr(part, "minutes"):
            given = {"minutes": options.minutes}
        if not _holds(name, replace(part, **given), options.seed):
            failed.append(name)
    if failed:
        print(f"found something: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _holds(name: str, part: Amounts, seed: int) -> bool:
    values = [(field.name.replace("_", "-"), getattr(part, field.name)) for field in fields(part)]
    command = " ".join([f"python -m tests.chaos --only {name} --seed {seed}", *(f"--{key} {it}" for key, it in values)])
    print(f"--- {command}", flush=True)
    run: Callable[[Amounts, int], list[str]] = import_module(PARTS[name][1]).run
    started = time.monotonic()
    found = run(part, seed)
    for one in found:
        print(f"found: {one}", file=sys.stderr, flush=True)
    print(f"{name}: {'nothing wrong' if not found else 'FAILED'} ({time.monotonic() - started:.0f} s)", flush=True)
    return not found


if __name__ == "__main__":
    sys.exit(main())
