"""PostgreSQL and Valkey as context managers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from psycopg import pq

from nexgent_db.embedded._binaries import postgres_major, reachable_postgres, reachable_valkey
from nexgent_db.embedded._lifetime import EmbeddedServerError, Home, Plan, shared_server, temporary_parent

_PORT = 5432  # names the socket file; nothing listens on TCP


def default_root() -> Path:
    """The directory of this account's persistent servers, created on first use.

    ``NEXGENT_DB_HOME`` if set; else ``/var/lib/nexgent-db`` for root, whose home is closed to the account
    that servers then run as; else ``nexgent-db`` in ``XDG_STATE_HOME`` or ``~/.local/state``.
    Raises EmbeddedServerError if the account has no home directory.
    """
    if home := os.environ.get("NEXGENT_DB_HOME"):
        return Path(home).expanduser().absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/nexgent-db")
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        base = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    except RuntimeError as e:
        raise EmbeddedServerError(f"{e}: set NEXGENT_DB_HOME to a directory for the servers' files") from e
    return base / "nexgent-db"


@contextlib.contextmanager
def postgres(root: Path | None = None, *, durable: bool = True) -> Iterator[str]:
    """Run PostgreSQL until the ``with`` ends and yield its ``postgresql://`` URL (superuser, any number of users).

    With ``root`` its files stay in ``root``/postgres; all processes with the same ``root`` share one server, which
    stops when the last of them ends in any way. ``durable=False`` trades safety from power cuts (not from killed
    processes) for speed; the process that starts the server decides for all. Without ``root`` only the caller uses the
    server; it is never durable, and is deleted afterwards.

    The server listens only on a unix socket, in a directory that only this account can enter, without a password. For
    root the server runs as ``nobody``: every program that runs as ``nobody`` can then enter as its superuser, read the
    data, and do as ``nobody`` whatever PostgreSQL's superuser may. Keep no data that matter in a server of root's.
    Root's directories must be root's own, up to ``/``, and writable by nobody else but through the sticky bit.

    Raises EmbeddedServerError if no server program of version 15 or newer is found, if ``root`` is not usable
    (for ``nobody``, when root runs this), if its data are of another major version, or if it does not start.
    """
    with _placed(root, "postgres") as (place, throw_away):
        home = Home(place, f".s.PGSQL.{_PORT}")
        safe = durable and not throw_away

        def plan(home: Home) -> Plan:
            return _plan_postgres(home, durable=safe)

        with shared_server(home, plan, _postgres_answers, throw_away=throw_away):
            yield f"postgresql://postgres@/postgres?host={quote(str(home.sockets), safe='')}&port={_PORT}"


@contextlib.contextmanager
def valkey(root: Path | None = None) -> Iterator[str]:
    """Run Valkey until the ``with`` ends and yield its ``unix://`` URL, as the redis client takes it.

    With ``root`` its files stay in ``root``/valkey; all processes with the same ``root`` share one server, which stops
    with the last of them. It saves its content then, and within a minute of a change. Without ``root`` only the caller
    uses the server; it saves nothing, and is deleted afterwards.

    Socket and account are as for ``postgres``.

    Raises EmbeddedServerError if no server program is found, if ``root`` is not usable (for ``nobody``, when
    root runs this), or if it does not start.
    """
    with _placed(root, "valkey") as (place, throw_away):
        home = Home(place, "valkey.sock")

        def plan(home: Home) -> Plan:
            return _plan_valkey(home, save=not throw_away)

        with shared_server(home, plan, _valkey_answers, throw_away=throw_away):
            yield f"unix://{quote(str(home.socket))}"


@contextlib.contextmanager
def _placed(root: Path | None, name: str) -> Iterator[tuple[Path, bool]]:
    """The server's directory, and whether to remove it afterwards."""
    if root is not None:
        yield root.expanduser().absolute() / name, False
        return
    user = os.getpid()
    place = Path(tempfile.mkdtemp(prefix=f"nexgent-{name}-", dir=temporary_parent()))
    try:
        if os.geteuid() == 0:
            place.chmod(0o711)  # "nobody" passes through to the directories that it owns
        yield place, True
    finally:  # the watchdog does this too, in case this process is killed
        if os.getpid() == user:  # not a forked child
            shutil.rmtree(place, ignore_errors=True)


def _plan_postgres(home: Home, *, durable: bool) -> Plan:
    programs = reachable_postgres(home)
    major = postgres_major(programs)
    setup: list[str] = []
    if home.data.exists():
        made_by = _version_of(home.data)
        if made_by != str(major):
            raise EmbeddedServerError(
                f"{home.data} was made by PostgreSQL {made_by}, {programs} has {major}:"
                " dump it with the old programs, or move it away"
            )
        (home.data / "postmaster.pid").unlink(missing_ok=True)  # its server has ended: see server.lock
    else:
        fresh = home.root / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)  # an initdb that did not finish
        home.own(fresh)
        setup = [str(programs / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8"]
        if major >= 17:  # sorts alike on every machine
            setup += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-locale"]
        else:
            setup += ["--locale=C.UTF-8"]
        if not durable:
            setup += ["--no-sync"]
    sockets = '"{}"'.format(str(home.sockets).replace('"', '""'))
    settings = {"listen_addresses": "", "port": str(_PORT), "unix_socket_directories": sockets}
    if not durable:
        settings |= {"fsync": "off", "full_page_writes": "off"}
    server = [str(programs / "postgres"), "-D", str(home.data)]
    for name, value in settings.items():
        server += ["-c", f"{name}={value}"]
    # SIGINT: end the sessions and shut down in order. SIGQUIT: leave the rest to crash recovery.
    return Plan(server, stop=signal.SIGINT, force=signal.SIGQUIT, setup=setup)


def _version_of(data: Path) -> str:
    """The major version that made the directory. The server's account may write in it, so no link is followed."""
    descriptor = os.open(data / "PG_VERSION", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 16).decode(errors="replace").strip()
    finally:
        os.close(descriptor)
    return text if text.isdecimal() else "something else"


def _postgres_answers(home: Home) -> bool:
    host = str(home.sockets).replace("\\", "\\\\").replace("'", "\\'")
    conninfo = f"host='{host}' port={_PORT} user=postgres dbname=postgres connect_timeout=5"
    return home.socket.exists() and pq.PGconn.ping(conninfo.encode()) == pq.Ping.OK


def _plan_valkey(home: Home, *, save: bool) -> Plan:
    home.own(home.data)
    options = {
        "--port": "0",
        "--unixsocket": str(home.socket),
        "--unixsocketperm": "777",  # the directory keeps others out
        "--dir": str(home.data),
        "--daemonize": "no",
        "--appendonly": "no",
        "--save": "60 1" if save else "",
    }
    server = [str(reachable_valkey(home)), *(word for option in options.items() for word in option)]
    return Plan(server, stop=signal.SIGTERM, force=signal.SIGKILL)  # SIGTERM: save, then end


def _valkey_answers(home: Home) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(home.socket))
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")  # -LOADING while it reads what it saved
    return False
