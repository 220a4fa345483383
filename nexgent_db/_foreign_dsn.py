"""Connection strings of other tools: which part libpq does not know, and what to write instead. Never the secret."""

from __future__ import annotations

import re
from typing import Final

from psycopg import pq

from nexgent_db.errors import ConfigurationError

__all__ = ["ensure_known_options", "ensure_no_foreign_form"]

_INSTEAD: Final = {
    "connection_limit": "Prisma's: set NEXGENT_DB_POOL_MAX_SIZE instead",
    "pool_timeout": "Prisma's: set NEXGENT_DB_POOL_TIMEOUT_S instead",
    "pgbouncer": "Prisma's: set NEXGENT_DB_PREPARE_THRESHOLD=none instead, unless the pooler keeps prepared statements",
    "sslaccept": "Prisma's: write sslmode=require for accept_invalid_certs, and sslmode=verify-full for strict",
    "sslidentity": "Prisma's: write sslcert and sslkey",
    "socket_timeout": "Prisma's: set NEXGENT_DB_STATEMENT_TIMEOUT_S instead",
    "statement_cache_size": "Prisma's and asyncpg's: set NEXGENT_DB_PREPARE_THRESHOLD instead",
    "prepared_statement_cache_size": "SQLAlchemy's: set NEXGENT_DB_PREPARE_THRESHOLD instead",
    "command_timeout": "asyncpg's: set NEXGENT_DB_STATEMENT_TIMEOUT_S instead",
    "currentSchema": "JDBC's: write schema",
    "prepareThreshold": "JDBC's: set NEXGENT_DB_PREPARE_THRESHOLD instead",
    "uselibpqcompat": "Node's: leave it out",
    "pool_size": "SQLAlchemy's: set NEXGENT_DB_POOL_MAX_SIZE instead",
    "max_overflow": "SQLAlchemy's: set NEXGENT_DB_POOL_MAX_SIZE instead",
}
_QUERY_NAME: Final = re.compile(r"[?&]([A-Za-z_]{1,40})=")
_KEYWORD: Final = re.compile(r"(?:^|\s)([A-Za-z_]{1,40})\s*=")


def ensure_no_foreign_form(url: str) -> None:
    """Raises ConfigurationError for a URL in quotes, as some files have it, and for one of JDBC."""
    if url[:1] in ("'", '"'):
        raise ConfigurationError("DATABASE_URL begins with a quote: write it without quotes")
    if url[:5].lower() == "jdbc:":
        raise ConfigurationError(
            "DATABASE_URL is one of JDBC: write postgresql:// without jdbc:, and user and password before the host"
        )


def ensure_known_options(url: str) -> None:
    """Raises ConfigurationError that names the first option that libpq does not know, of a URL that it refused.

    A name is shown only when it is another tool's, or cannot be a part of a role and password.
    """
    is_url = "://" in url
    known = {option.keyword.decode() for option in pq.Conninfo.get_defaults()} | {"schema"}
    options = url.rpartition("@")[2] if is_url else url
    for name in (_QUERY_NAME if is_url else _KEYWORD).findall(options):
        if name in known:
            continue
        if name in _INSTEAD:
            raise ConfigurationError(f"DATABASE_URL has the option {name}, which is {_INSTEAD[name]}")
        if is_url:
            raise ConfigurationError(f"DATABASE_URL has the option {name}, which PostgreSQL's library does not know")
