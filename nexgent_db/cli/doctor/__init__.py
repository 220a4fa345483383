"""``doctor``: one page on what is wrong, or may be, with a database, its Redis and this release; and what to do."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import cache, partial
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from nexgent_db._text import visible
from nexgent_db.cli import target
from nexgent_db.cli.doctor import schema, server
from nexgent_db.cli.doctor.subject import DoctorFinding, DoctorSubject, Level, Thresholds
from nexgent_db.cli.machine import Json, print_json
from nexgent_db.cli.project import current
from nexgent_db.cli.schema import Expected
from nexgent_db.cli.sources import sources
from nexgent_db.cli.target import DatabaseUrl, RedisUrl, Target
from nexgent_db.errors import ConfigurationError, InvalidInput, NexgentError
from nexgent_db.migrations import Cells

__all__ = ["CHECKS", "DoctorFinding", "examine", "register"]

Check = Callable[[DoctorSubject], DoctorFinding]

CHECKS: Final = (
    *("versions", "durability", "clock", "pool", "transactions", "wraparound", "network", "pg_hba", "passwords"),
    *("redis", "migrations", "drift", "contract", "indexes", "constraints", "bloat", "roles", "outbox", "cache"),
)
"""The names of all checks, in the order of the page."""
OF_SERVER: Final = CHECKS[: CHECKS.index("migrations")]
"""Those that are the same for every cell."""
LONGER_S: Final = {"drift": 120.0, "contract": 60.0}
"""These do work of their own, and may take this long at least."""
_COLOURS: Final[dict[Level, str]] = {"ok": "green", "warning": "yellow", "problem": "bold red"}
_REFUSED: Final = "a look was refused or impossible: repair that, or leave the check out with --skip"


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(doctor)


def doctor(
    as_json: Json = False,
    cells: Annotated[bool, typer.Option("--cells", help="Look at every cell as well.")] = False,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="CHECK", help="Leave this check out; may be repeated.")
    ] = None,
    limit_s: Annotated[
        float, typer.Option("--limit", min=1, max=3600, metavar="SECONDS", help="How long each check may take.")
    ] = 10.0,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
) -> None:
    """Look for what endangers data or service, and say what to do. Exit code 0: all is well; 2: warnings; 1: a problem.

    Reads only, in read-only sessions; each check takes --limit at most. A check that cannot look, because Redis is down
    or a right is missing, is a warning, and the others go on. A superuser, or a member of pg_monitor, sees most. With
    ?schema= in DATABASE_URL it looks at that cell.
    """
    if unknown := sorted(set(skip or ()) - set(CHECKS)):
        raise InvalidInput("skip", f"no check is called {unknown[0]}: they are {', '.join(CHECKS)}")
    with target.opened(database_url, redis_url, with_cache=True) as where:
        findings = list(_findings(where, skip or (), limit_s, as_json=as_json, cells=cells))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in findings], **{key: counts[key] for key in _COLOURS}})
    else:
        typer.echo(", ".join(f"{counts[level]} {level}" for level in _COLOURS))
    if counts["problem"]:
        raise typer.Exit(1)
    if counts["warning"]:
        raise typer.Exit(2)


def _findings(
    where: Target, skip: list[str] | tuple[()], limit_s: float, *, as_json: bool, cells: bool
) -> Iterator[DoctorFinding]:
    subject = DoctorSubject(where.settings, migrations=current().migrations, limit_s=limit_s, thresholds=Thresholds())
    for finding in examine(subject, skip=skip, cells=cells):
        if not as_json:
            _show(finding)
        yield finding


def examine(
    subject: DoctorSubject, *, skip: list[str] | tuple[()] = (), cells: bool = False
) -> Iterator[DoctorFinding]:
    """The finding of each check, in the order of the page; then those of every cell. Never raises NexgentError."""
    checks = {name: check for name, check in _checks().items() if name not in skip}
    yield from _examined(subject, checks)
    if cells:
        found: list[str] = []

        def names() -> DoctorFinding:
            found.extend(Cells(subject.conninfo, migrations=subject.migrations).names())
            return DoctorFinding("cells", "ok", f"{len(found)} cells")

        yield _within(subject.limit_s, "cells", names)
        of_schema = {name: check for name, check in checks.items() if name not in OF_SERVER}
        for name in found:
            yield from _examined(subject.of_cell(name), of_schema)


def _checks() -> dict[str, Check]:
    """The checks by name. The queries and the expected schemas are the same for every cell."""
    expected = Expected()
    found: tuple[Check, ...] = (
        *(server.versions, server.durability, server.clock, server.connections, server.long_transactions),
        *(server.wraparound, server.network, server.host_rules, server.passwords, server.redis, schema.migrations),
        *(
            schema.drift_of(expected),
            schema.contract_of(cache(lambda: sources(current()))),
            schema.indexes,
            schema.constraints,
            schema.bloat,
        ),
        *(schema.roles, schema.outbox, schema.cache),
    )
    return dict(zip(CHECKS, found, strict=True))


def _examined(subject: DoctorSubject, checks: dict[str, Check]) -> Iterator[DoctorFinding]:
    try:
        for name, check in checks.items():
            limit_s = max(subject.limit_s, LONGER_S.get(name, 0.0))
            finding = _within(limit_s, name, partial(check, subject))
            yield replace(finding, cell=subject.cell)
    finally:
        subject.close()


def _within(limit_s: float, name: str, check: Callable[[], DoctorFinding]) -> DoctorFinding:
    """The check's finding; a warning when it cannot look, or takes longer than this and what a lost server may add.

    The check runs in a thread of its own, which is left behind when it is late: it can only read.
    """
    answers: queue.SimpleQueue[DoctorFinding] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put(check())
        except ConfigurationError as error:
            answers.put(DoctorFinding(name, "problem", f"not looked at: {error}", "repair the setting"))
        except NexgentError as error:
            answers.put(DoctorFinding(name, "warning", f"not looked at: {error}", _REFUSED))
        except Exception as error:  # one check never ends the page
            answers.put(DoctorFinding(name, "warning", f"not looked at: {type(error).__name__}: {error}", _REFUSED))

    threading.Thread(target=run, name=f"doctor {name}", daemon=True).start()
    try:
        return answers.get(timeout=limit_s + 2.0)
    except queue.Empty:
        return DoctorFinding(name, "warning", f"not looked at: it took longer than {limit_s:g} s", "a higher --limit")


def _show(finding: DoctorFinding) -> None:
    console = Console(highlight=False, soft_wrap=True)
    about = finding.check if finding.cell is None else f"{finding.cell}: {finding.check}"
    console.print(
        Text.assemble(
            (f"{finding.level:<8}", _COLOURS[finding.level]), f" {visible(about):<13} ", visible(finding.message)
        )
    )
    if finding.remedy is not None:
        console.print(Text(f"{'':<22} to do: {visible(finding.remedy)}", style="dim"))
