"""What ``nexgent-db doctor`` reads of a server and of a schema."""

from __future__ import annotations

from nexgent_db.models.base import UUID, AwareDatetime, Row


class AgentRange(Row):
    """Some agents in the order of their ids: the last of them, and how many they are."""

    last: UUID
    agents: int


class ServerState(Row):
    """The version, the settings on which committed data depend, and the clock."""

    version: str
    fsync: str
    synchronous_commit: str
    full_page_writes: str
    clock: AwareDatetime


class ConnectionLimits(Row):
    """How many sessions are allowed, -1 for any number, and how many are there."""

    allowed: int
    allowed_by_database: int
    allowed_by_role: int
    used: int
    used_by_database: int
    used_by_role: int


class InvalidIndex(Row):
    """An index that no query uses, and its table."""

    index: str
    relation: str


class UnvalidatedConstraint(Row):
    """A constraint that the rows before it were not compared with, and its table."""

    constraint_name: str
    relation: str


class LongTransaction(Row):
    """An open transaction, its session and its age."""

    session: str
    state: str
    seconds: float


class BloatedTable(Row):
    """A table with many dead rows."""

    relation: str
    live: int
    dead: int


class Wraparound(Row):
    """The ages of the oldest transaction ids, and those at which autovacuum freezes."""

    age: int
    freeze_max_age: int
    multixact_age: int
    multixact_freeze_max_age: int


class RoleState(Row):
    """The session's role, and the tables that row-level security does not protect.

    ``services`` are roles that may become the tenants' role and that this session may become.
    """

    name: str
    exempt: bool
    unprotected: list[str]
    open_to_public: list[str]
    services: list[str]


class NetworkState(Row):
    """How a session reaches the server: ``client_address`` is None for a unix socket."""

    client_address: str | None
    encrypted: bool
    password_encryption: str


class OpenRule(Row):
    """A rule of pg_hba.conf, and its line."""

    line: int
    rule: str
