"""``serve``: keep the embedded servers up for manual work."""

from __future__ import annotations

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Annotated

import typer

from nexgent_db.cli.machine import Json, reporting
from nexgent_db.embedded import EmbeddedServerError, default_root, postgres, valkey

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add this command to ``app``."""
    app.command()(serve)


def serve(
    seconds: Annotated[
        float | None,
        typer.Option("--for", min=0, max=threading.TIMEOUT_MAX, metavar="SECONDS", help="End after this time."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the URLs of this account's embedded servers and keep these up, for manual work.

    Ends with Ctrl-C, SIGTERM or after the time of --for; the exit code is 0, and the data stay. They are the servers
    that the other commands use without DATABASE_URL. They stop when no process uses them any more.
    """
    with _until_told_to_stop(), ExitStack() as servers:
        urls: dict[str, str | None] = {}
        with reporting(urls, as_json):
            urls["database_url"] = servers.enter_context(postgres(default_root()))
            urls["redis_url"] = None
            with suppress(EmbeddedServerError):  # no program: as the other commands, without a cache
                urls["redis_url"] = servers.enter_context(valkey(default_root()))
        if not as_json:
            for name, url in urls.items():
                if url is not None:
                    typer.echo(f"{name.upper()}={shlex.quote(url)}")
            typer.echo("serving until Ctrl-C" if seconds is None else f"serving for {seconds:g} s", err=True)
        threading.Event().wait(seconds)


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Ends the ``with`` block, without an error, at Ctrl-C or SIGTERM."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = [(each, signal.signal(each, stop)) for each in (signal.SIGINT, signal.SIGTERM)]
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)
