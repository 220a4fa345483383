"""Checks of one schema: migrations, indexes, constraints, queries, roles, outbox, cache. As those of the server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from nexgent_db.cli.doctor.subject import DoctorFinding, DoctorSubject, some
from nexgent_db.cli.schema import Expected, compared, connected
from nexgent_db.contract import Source, contract_problems
from nexgent_db.errors import SchemaNotReady, TenantNotIsolated

__all__ = [
    "LEFT_NOT_VALID",
    "bloat",
    "cache",
    "constraints",
    "contract_of",
    "drift_of",
    "indexes",
    "migrations",
    "outbox",
    "roles",
]

_LISTED: Final = 100
LEFT_NOT_VALID: Final = frozenset({"agent_transactions_sides_check", "agent_transactions_transaction_value_usd_check"})
"""Our migrations leave these so: they are rules for new rows, which those of an adopted database may break."""
_TABLES: Final = [
    *("users", "api_keys", "agents", "agent_wallets", "agent_balances", "agent_balance_snapshots", "agent_positions"),
    *("agent_transactions", "agent_historical_swaps", "trading_signals", "signal_executions", "trade_requests"),
    "cache_outbox",
]


def migrations(subject: DoctorSubject) -> DoctorFinding:
    """Pending, edited and unknown migrations, a service's too."""
    try:
        subject.database.assert_schema(may_be_newer=True)
    except SchemaNotReady as error:
        return DoctorFinding("migrations", "problem", str(error), "nexgent-db migrate")
    try:
        subject.database.assert_schema()
    except SchemaNotReady as error:
        return DoctorFinding(
            "migrations", "warning", str(error), "roll out the release that the database was migrated by"
        )
    return DoctorFinding("migrations", "ok", "all of this release are applied, and no others")


def drift_of(expected: Expected) -> Callable[[DoctorSubject], DoctorFinding]:
    """The check that compares the schema with what its migrations make."""

    def drift(subject: DoctorSubject) -> DoctorFinding:
        last, found = compared(subject.conninfo, expected)
        if found:
            harmful = [each for each in found if not each.harmless]
            return DoctorFinding(
                "drift",
                "problem" if harmful else "warning",
                f"{len(found)} differences from what the migrations make: {some([str(each) for each in found])}",
                "nexgent-db drift prints the statements that repair them",
            )
        return DoctorFinding("drift", "ok", f"the schema is what the migrations make, up to {last}")

    return drift


def contract_of(read_sources: Callable[[], Sequence[Source]]) -> Callable[[DoctorSubject], DoctorFinding]:
    """The check that every query can be prepared here and has the columns of the contract."""

    def contract(subject: DoctorSubject) -> DoctorFinding:
        sources = read_sources()
        with connected(subject.conninfo) as connection:
            problems = contract_problems(connection, sources)
        if problems:
            return DoctorFinding(
                "contract",
                "problem",
                f"{len(problems)} of {len(sources)} queries do not fit this schema: {some(problems)}",
                "migrate, or repair what nexgent-db drift shows",
            )
        return DoctorFinding("contract", "ok", f"{len(sources)} queries fit this schema")

    return contract


def indexes(subject: DoctorSubject) -> DoctorFinding:
    """INVALID indexes, which cost writes and serve no query."""
    found = subject.read(lambda queries: queries.list_invalid_indexes(_LISTED))
    if found:
        return DoctorFinding(
            "indexes",
            "problem",
            "INVALID, so no query uses it: " + some([f"{each.index} of {each.relation}" for each in found]),
            "nexgent-db migrate --drop-invalid, or REINDEX INDEX CONCURRENTLY",
        )
    return DoctorFinding("indexes", "ok", "all are valid")


def constraints(subject: DoctorSubject) -> DoctorFinding:
    """NOT VALID constraints: rows from before may break them."""
    rows = subject.read(lambda queries: queries.list_unvalidated_constraints(_LISTED))
    found = [each for each in rows if each.constraint_name not in LEFT_NOT_VALID]
    if found:
        return DoctorFinding(
            "constraints",
            "warning",
            "NOT VALID: " + some([f"{each.constraint_name} of {each.relation}" for each in found]),
            "ALTER TABLE … VALIDATE CONSTRAINT …, after repairing the rows that break it",
        )
    return DoctorFinding("constraints", "ok", "all are validated")


def outbox(subject: DoctorSubject) -> DoctorFinding:
    """How long the oldest change waits for a relay."""
    limits = subject.thresholds
    maintenance = subject.database.cache.maintenance
    lag_s, waiting = maintenance.lag_s(), maintenance.waiting()
    message = f"{waiting} changes wait, the oldest for {lag_s:.0f} s"
    if lag_s >= limits.lag_warning_s:
        return DoctorFinding(
            "outbox",
            "problem" if lag_s >= limits.lag_problem_s else "warning",
            message,
            "run maintenance: nexgent-db cache relay --follow, or db.cache.maintenance.run(); with Redis or without",
        )
    return DoctorFinding("outbox", "ok", message)


def cache(subject: DoctorSubject) -> DoctorFinding:
    """A sample of the cached entries, compared with their rows."""
    inspection = subject.inspection
    if inspection is None:
        return DoctorFinding("cache", "ok", "REDIS_URL is not set: there is no cache")
    sample = inspection.sample(subject.thresholds.sample)
    if sample.other_database:
        return DoctorFinding(
            "cache",
            "warning",
            "the cached rows are of another database, or of an earlier state",
            "the next service to open it empties it; is REDIS_URL right?",
        )
    if sample.differences:
        keys = some([f"{each.key} ({each.kind})" for each in sample.differences])
        return DoctorFinding(
            "cache",
            "problem",
            f"{len(sample.differences)} of {sample.compared} cached entries differ from the database: {keys}",
            "nexgent-db cache repair; is maintenance running?",
        )
    return DoctorFinding("cache", "ok", f"{sample.compared} cached entries agree with the database")


def bloat(subject: DoctorSubject) -> DoctorFinding:
    """Tables with more dead rows than autovacuum leaves."""
    limits = subject.thresholds
    found = subject.read(lambda queries: queries.list_bloated_tables(limits.dead_rows, limits.dead_share, _LISTED))
    if found:
        shown = some([f"{each.relation} ({each.dead:,} dead, {each.live:,} live)" for each in found])
        return DoctorFinding(
            "bloat", "warning", f"many dead rows: {shown}", "end old transactions, turn autovacuum on, then VACUUM"
        )
    return DoctorFinding("bloat", "ok", "no table has many dead rows")


def roles(subject: DoctorSubject) -> DoctorFinding:
    """Row-level security on every table, and a service's role for which it shows one user's rows alone."""
    state = subject.read(lambda queries: queries.roles(_TABLES))
    exempt = subject.read(lambda queries: queries.list_exempt_logins(_LISTED))
    apply = "nexgent-db roles apply"
    if len(state.unprotected) == len(_TABLES):
        return DoctorFinding("roles", "warning", "no table has row-level security: tenants are not isolated", apply)
    if state.unprotected:
        return DoctorFinding("roles", "problem", f"without row-level security: {some(state.unprotected)}", apply)
    if state.open_to_public:
        return DoctorFinding("roles", "problem", f"policies for PUBLIC: {some(state.open_to_public)}", apply)
    if exempt:
        return DoctorFinding("roles", "problem", f"BYPASSRLS: {some(exempt)}", "ALTER ROLE … NOBYPASSRLS")
    if state.exempt and not state.services:
        return DoctorFinding("roles", "warning", f"{state.name} sees all rows, and no role of services is there", apply)
    role = state.services[0] if state.services and state.name not in state.services else None
    try:
        with subject.opened_as(role) as database:
            database.agents.find_by_id(UUID(int=0))  # a role that reads nothing would show nothing
            database.assert_tenants()
    except TenantNotIsolated as error:
        return DoctorFinding("roles", "problem", str(error), apply)
    return DoctorFinding(
        "roles", "ok", f"{role or state.name} can act for one user alone, and sees no other user's rows"
    )
