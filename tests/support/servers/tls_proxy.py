"""A TLS proxy on a loopback port, with certificates of the test's own, for a server without TLS."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trustme

_CHUNK: Final = 65_536


@dataclass
class TlsProxy:
    """Takes TLS from clients at ``port`` and talks plainly to the unix socket."""

    port: int
    authority: Path
    """The certificate of the authority that signed the proxy's: a client that trusts it trusts the proxy."""
    versions: list[str | None] = field(default_factory=list)
    """The version of TLS that each connection agreed upon."""
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def url(self, login: str = "", **options: str) -> str:
        """Such as ``rediss://user:password@localhost:1234/0?ssl_ca_certs=...``."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"rediss://{login}localhost:{self.port}/0?{query}"

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Meanwhile the proxy takes and sends nothing."""
        over = threading.Event()
        self.loop.call_soon_threadsafe(over.wait)
        try:
            yield
        finally:
            over.set()


@contextmanager
def tls_proxy(upstream: Path, directory: Path) -> Iterator[TlsProxy]:
    """A proxy before the server on the unix socket ``upstream``; the authority's certificate is in ``directory``."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    file = directory / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    started = threading.Event()
    proxy = TlsProxy(0, file)
    loop = proxy.loop
    over = asyncio.Event()
    open_writers: set[asyncio.StreamWriter] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_writers.add(writer)
        proxy.versions.append(writer.get_extra_info("ssl_object").version())
        try:
            back, there = await asyncio.open_unix_connection(str(upstream))
        except OSError:
            writer.close()
            return
        open_writers.add(there)
        async with asyncio.TaskGroup() as both:
            both.create_task(_pump(reader, there))
            both.create_task(_pump(back, writer))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
        proxy.port = server.sockets[0].getsockname()[1]
        started.set()
        await over.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in open_writers:
            writer.transport.abort()  # over TLS, a closing one waits for its client's goodbye
        await asyncio.sleep(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        assert started.wait(30), "the proxy does not listen"
        yield proxy
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()
        loop.close()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while piece := await source.read(_CHUNK):
                target.write(piece)
                await target.drain()
    finally:
        target.close()
