"""The deletion of an agent with its ledger, as a DBA does it."""

from __future__ import annotations

from uuid import UUID

import psycopg


def purge_agent(database_url: str, agent_id: UUID) -> None:
    """Delete the agent and all that belongs to it."""
    with psycopg.connect(database_url, autocommit=True) as psql:
        psql.execute("SELECT purge_agent_v1(%s, 'a test')", [agent_id])
