"""Checks of the server. Each returns one finding, and raises NexgentError when it cannot look."""

from __future__ import annotations

import ipaddress
import platform
import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import psycopg
from psycopg import pq

from nexgent_db._redis_url import sentinel_place
from nexgent_db._version import __version__
from nexgent_db.cli.doctor.subject import SHOWN, DoctorFinding, DoctorSubject, some
from nexgent_db.errors import DatabaseUnavailable
from nexgent_db.models.doctor import LongTransaction

__all__ = [
    "clock",
    "connections",
    "durability",
    "host_rules",
    "long_transactions",
    "network",
    "passwords",
    "redis",
    "versions",
    "wraparound",
]

_LISTED: Final = 100


def versions(subject: DoctorSubject) -> DoctorFinding:
    """The versions of what works together; a server that cannot be reached, or is too old, is a problem."""
    try:
        health = subject.database.health()
    except DatabaseUnavailable as error:
        return DoctorFinding("versions", "problem", str(error), "repair DATABASE_URL or the server: see Outages")
    libpq = f"{pq.version() // 10000}.{pq.version() % 10000}"
    parts = [
        f"nexgent-db {__version__}",
        f"Python {platform.python_version()}",
        f"psycopg {psycopg.__version__}",
        f"libpq {libpq}",
        f"PostgreSQL {subject.read(lambda queries: queries.server()).version}",
    ]
    if health.state in ("gone", "full"):
        return DoctorFinding("versions", "problem", f"the server is {health.state}: {health.problem}", "see Outages")
    return DoctorFinding("versions", "ok", ", ".join(parts))


def durability(subject: DoctorSubject) -> DoctorFinding:
    """The settings without which a crash loses or corrupts what was committed."""
    state = subject.read(lambda queries: queries.server())
    found = {
        "fsync": state.fsync,
        "full_page_writes": state.full_page_writes,
        "synchronous_commit": state.synchronous_commit,
    }
    wrong = [f"{name} is {value}" for name, value in found.items() if value == "off"]
    if wrong:
        lost = (
            "corrupt the database" if found["fsync"] == "off" or found["full_page_writes"] == "off" else "lose trades"
        )
        return DoctorFinding(
            "durability",
            "problem",
            f"{', '.join(wrong)}: a crash of the machine may {lost}",
            "set them on, in postgresql.conf or where a role or database sets them",
        )
    return DoctorFinding("durability", "ok", ", ".join(f"{name} is {value}" for name, value in found.items()))


def clock(subject: DoctorSubject) -> DoctorFinding:
    """This machine's clock, compared with the server's half a round trip ago."""
    before = datetime.now(UTC)
    state = subject.read(lambda queries: queries.server())
    after = datetime.now(UTC)
    # The server's clock was read at some moment in between, so only what lies outside counts.
    apart = max((before - state.clock).total_seconds(), (state.clock - after).total_seconds(), 0.0)
    limits = subject.thresholds
    message = f"this machine's clock and the server's are {apart:.1f} s apart"
    if apart >= limits.clock_warning_s:
        far = apart >= limits.clock_problem_s
        return DoctorFinding(
            "clock",
            "problem" if far else "warning",
            message,
            "synchronise both by NTP: deadlines and times of trades are compared",
        )
    return DoctorFinding("clock", "ok", message)


def connections(subject: DoctorSubject) -> DoctorFinding:
    """Is there room for the pool of one more process?"""
    limits = subject.read(lambda queries: queries.connections())
    rooms = {"max_connections": limits.allowed - limits.used}
    if limits.allowed_by_database >= 0:
        rooms["the database's CONNECTION LIMIT"] = limits.allowed_by_database - limits.used_by_database
    if limits.allowed_by_role >= 0:
        rooms["the role's CONNECTION LIMIT"] = limits.allowed_by_role - limits.used_by_role
    why, free = min(rooms.items(), key=lambda each: each[1])
    wanted = subject.settings.pool_max_size
    message = f"{limits.used} of {limits.allowed} connections are used; {max(free, 0)} are free for this role"
    if free < wanted:
        return DoctorFinding(
            "pool",
            "problem" if free < 1 else "warning",
            f"{message}, and a pool takes up to {wanted}: the limit is {why}",
            "fewer processes, a smaller NEXGENT_DB_POOL_MAX_SIZE, a pooler, or a higher limit",
        )
    return DoctorFinding("pool", "ok", message)


def long_transactions(subject: DoctorSubject) -> DoctorFinding:
    """Open transactions that keep vacuum from removing dead rows, and locks from everybody."""
    limits = subject.thresholds
    rows: list[LongTransaction] = subject.read(
        lambda queries: queries.list_long_transactions(limits.transaction_warning_s, _LISTED)
    )
    if rows:
        shown = "; ".join(f"{row.session}, {row.state}, {row.seconds:.0f} s" for row in rows[:SHOWN])
        oldest = rows[0].seconds >= limits.transaction_problem_s
        return DoctorFinding(
            "transactions",
            "problem" if oldest else "warning",
            f"{len(rows)} transactions are open for more than {limits.transaction_warning_s:g} s: {shown}",
            "end them: pg_terminate_backend(pid), or ROLLBACK PREPARED",
        )
    hidden = subject.read(lambda queries: queries.count_hidden_sessions())
    if hidden:
        return DoctorFinding(
            "transactions",
            "warning",
            f"not looked at: the role may not see {hidden} sessions",
            "run it as a member of pg_monitor",
        )
    return DoctorFinding("transactions", "ok", f"none is open for more than {limits.transaction_warning_s:g} s")


def wraparound(subject: DoctorSubject) -> DoctorFinding:
    """The age of the oldest transaction id: PostgreSQL stops writes at two billion."""
    state = subject.read(lambda queries: queries.wraparound())
    message = f"the oldest transaction id is {state.age:,} old, the oldest multixact {state.multixact_age:,}"
    share = max(state.age / state.freeze_max_age, state.multixact_age / state.multixact_freeze_max_age)
    if max(state.age, state.multixact_age) > 1_000_000_000 or share > 1.5:
        critical = max(state.age, state.multixact_age) > 1_000_000_000
        return DoctorFinding(
            "wraparound",
            "problem" if critical else "warning",
            f"{message}; autovacuum should freeze at {state.freeze_max_age:,}",
            "end old transactions and replication slots, then VACUUM (FREEZE) the oldest tables",
        )
    return DoctorFinding("wraparound", "ok", message)


# --- What others could read on the net ----------------------------------------------------------------


def network(subject: DoctorSubject) -> DoctorFinding:
    """Passwords and rows that travel in plain text: to PostgreSQL, to replicas, to Redis; and MD5 for new passwords."""
    state = subject.read(lambda queries: queries.network())
    plain = []
    if state.client_address is not None and not _is_local(state.client_address) and not state.encrypted:
        plain.append("PostgreSQL")
    if any(_remote_redis(subject.settings.redis_url)):
        plain.append("Redis")
    if plain:
        return DoctorFinding(
            "network",
            "problem",
            f"the connection to {' and '.join(plain)} is not encrypted, and leaves this machine",
            "sslmode=verify-full in DATABASE_URL, rediss:// in REDIS_URL",
        )
    if state.password_encryption == "md5":  # noqa: S105  # the name of a method
        return DoctorFinding(
            "network",
            "warning",
            "password_encryption is md5: new passwords are stored so that a copy is enough to log in",
            "password_encryption = scram-sha-256",
        )
    how = "encrypted" if state.encrypted else "local"
    return DoctorFinding("network", "ok", f"the connection is {how}, and new passwords are stored by SCRAM")


def _is_local(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _remote_redis(url: str | None) -> list[str]:
    """The hosts of the URL that are not this machine, when it asks for no TLS."""
    if url is None:
        return []
    if (place := sentinel_place(url)) is not None:
        return [] if place.tls else [host for host, _ in place.hosts if _is_remote(host)]
    parts = urlsplit(url)
    return [parts.hostname] if parts.scheme == "redis" and parts.hostname and _is_remote(parts.hostname) else []


def _is_remote(host: str) -> bool:
    if host == "localhost":
        return False
    try:
        return not _is_local(host)
    except ValueError:
        return True  # a name


def host_rules(subject: DoctorSubject) -> DoctorFinding:
    """The rules of pg_hba.conf that let other machines in with no password, a plain one, or MD5."""
    rules = subject.read(lambda queries: queries.list_open_rules(_LISTED))
    if rules:
        return DoctorFinding(
            "pg_hba",
            "problem" if any(not rule.rule.endswith("md5") for rule in rules) else "warning",
            "pg_hba.conf lets other machines in: " + some([f"line {rule.line}: {rule.rule}" for rule in rules]),
            "hostssl and scram-sha-256, then SELECT pg_reload_conf()",
        )
    return DoctorFinding("pg_hba", "ok", "other machines need SCRAM or a certificate")


def passwords(subject: DoctorSubject) -> DoctorFinding:
    """Roles with an MD5 password, and logins that row-level security does not limit."""
    names = subject.read(lambda queries: queries.list_md5_passwords(_LISTED))
    if names:
        return DoctorFinding(
            "passwords",
            "warning",
            f"stored as MD5, so that a copy is enough to log in: {some(names)}",
            "set them again under password_encryption = scram-sha-256",
        )
    return DoctorFinding("passwords", "ok", "none is stored as MD5")


# --- Redis --------------------------------------------------------------------------------------------

_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


def redis(subject: DoctorSubject) -> DoctorFinding:
    """The policy at the limit of memory, and the last save."""
    inspection = subject.inspection
    if inspection is None:
        return DoctorFinding("redis", "ok", "REDIS_URL is not set: there is no cache")
    info = inspection.info()
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info.get("redis_version")
    policy, used, most = info.get("maxmemory_policy"), int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    problems, warnings = [], []
    if policy != "noeviction":
        problems.append(f"maxmemory-policy is {policy}: it may evict the fences against stale rows, locks and results")
    if info.get("role") != "master":
        problems.append("it is a replica, and takes no writes")
    if info.get("loading"):
        problems.append("it is loading its data")
    if info.get("rdb_last_bgsave_status", "ok") != "ok" or info.get("aof_last_write_status", "ok") != "ok":
        problems.append("the last save failed: it may refuse writes")
    if most and used > 0.9 * most:
        warnings.append(f"{used / most:.0%} of maxmemory is used: when it is full, reads go to PostgreSQL")
    if problems or warnings:
        return DoctorFinding(
            "redis",
            "problem" if problems else "warning",
            "; ".join(problems + warnings),
            "maxmemory-policy noeviction, more maxmemory, a disk with room: see Operate the cache",
        )
    kept = "saves to disk" if info.get("aof_enabled") or int(info.get("rdb_saves", 0) or 0) else "needs no disk"
    return DoctorFinding("redis", "ok", f"{name} {version}, maxmemory-policy {policy}, {kept}")
