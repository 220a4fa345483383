# Generated from nexgent_db/aio/doctor.py by `make sync`: do not edit.
"""The queries of ``nexgent-db doctor`` and ``nexgent-db verify``."""

from __future__ import annotations

from uuid import UUID

from nexgent_db.models.doctor import (
    AgentRange,
    BloatedTable,
    ConnectionLimits,
    InvalidIndex,
    LongTransaction,
    NetworkState,
    OpenRule,
    RoleState,
    ServerState,
    UnvalidatedConstraint,
    Wraparound,
)
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository


class DoctorQueries(Repository, sql="doctor"):
    """Reads of catalogs, statistics and settings."""

    @query
    def server(self) -> ServerState:
        """The version, the settings on which committed data depend, and the clock."""
        ...

    @query
    def connections(self) -> ConnectionLimits:
        """How many sessions are allowed, and how many are there."""
        ...

    @query
    def list_invalid_indexes(self, limit: int) -> list[InvalidIndex]:
        """The indexes that no query uses."""
        ...

    @query
    def list_unvalidated_constraints(self, limit: int) -> list[UnvalidatedConstraint]:
        """The constraints that earlier rows were not compared with."""
        ...

    @query
    def list_long_transactions(self, age_s: float, limit: int) -> list[LongTransaction]:
        """The open transactions that are older."""
        ...

    @query
    def count_hidden_sessions(self) -> int:
        """The number of sessions whose transactions the role may not see."""
        ...

    @query
    def list_bloated_tables(self, least: int, share: float, limit: int) -> list[BloatedTable]:
        """The tables with more dead rows than this, and than this share of the live ones."""
        ...

    @query
    def wraparound(self) -> Wraparound:
        """The ages of the oldest transaction ids."""
        ...

    @query
    def roles(self, tables: list[str]) -> RoleState:
        """The session's role, and which of these tables row-level security does not protect."""
        ...

    @query
    def list_exempt_logins(self, limit: int) -> list[str]:
        """The roles, other than superusers, that row-level security does not limit."""
        ...

    @query
    def network(self) -> NetworkState:
        """How this session reaches the server."""
        ...

    @query
    def list_open_rules(self, limit: int) -> list[OpenRule]:
        """The rules of pg_hba.conf that let other machines in too easily."""
        ...

    @query
    def list_md5_passwords(self, limit: int) -> list[str]:
        """The roles whose password is stored as MD5."""
        ...

    @query
    def find_agents_after(self, after: UUID, count: int) -> AgentRange | None:
        """The last of the next agents by id."""
        ...
