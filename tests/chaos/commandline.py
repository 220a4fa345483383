"""The options that cancellations and interruptions share, and what they print."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

from nexgent_db.embedded import postgres
from nexgent_db.migrations import Migrator
from tests.chaos.accounting import (
    PLACE_VARIABLE,
    POOL_SIZES,
    USES,
    Figures,
    Place,
    heading,
    place_with_roles,
    run_child,
)
from tests.chaos.amounts import Cancellations

Run = Callable[[Place, str, int, int, int], Figures]
"""Place, use, pool size, seed and how many interruptions make the figures of one run."""


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """What both take."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--interruptions", type=int, default=5000, help="in each use, with each size of the pool")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--uses", nargs="+", choices=USES, default=USES)
    parser.add_argument("--pools", nargs="+", type=int, default=POOL_SIZES, help="connections of the pool")
    parser.add_argument("--json", action="store_true", help="one line of JSON for each run, and no judgement")
    return parser


def run_all(options: argparse.Namespace, run: Run) -> int:
    """Every use with every size of the pool; 1 when something was found."""
    failed = 0
    with _place() as place:
        for number, (use, size) in enumerate((use, size) for use in options.uses for size in options.pools):
            if number == 0 and not options.json:
                print(f"--seed {options.seed}", heading(), sep="\n", flush=True)
            figures = run(place, use, size, options.seed, options.interruptions)
            if options.json:
                print(json.dumps(asdict(figures)), flush=True)
                continue
            print(figures.line(), *(f"      found: {fault}" for fault in figures.faults()), sep="\n", flush=True)
            failed += bool(figures.faults())
    return min(failed, 1)


def interrupt(interruptions: int, seed: int, place: Place | None = None, *options: str) -> list[str]:
    """Run both in processes of their own, print their tables, return what they found."""
    found: list[str] = []
    with nullcontext(place) if place is not None else _place() as servers:
        print(f"interruptions with --seed {seed}", heading(), sep="\n", flush=True)
        for module in ("tests.chaos.cancellations", "tests.chaos.interruptions"):
            for figures in run_child(module, servers, interruptions=interruptions, seed=seed, options=options):
                print(figures.line(), flush=True)
                found += [f"{figures.flavour}, {figures.use}, {figures.pool_size}: {one}" for one in figures.faults()]
    for one in found:
        print(f"found: {one}", file=sys.stderr)
    return found


@contextmanager
def _place() -> Iterator[Place]:
    if PLACE_VARIABLE in os.environ:
        yield Place.of_environment()
        return
    with postgres() as url:
        Migrator(url).migrate()
        with place_with_roles(url) as place:
            yield place


def run(amounts: Cancellations, seed: int) -> list[str]:
    """The part of the command line: so many of tasks and of threads, over all uses and pools."""
    return interrupt(-(-amounts.cancellations // (len(USES) * len(POOL_SIZES))), seed)
