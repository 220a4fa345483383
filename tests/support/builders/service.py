"""A service in a folder of its own: pyproject.toml, a package with a repository and its SQL, migrations."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Service", "write_service"]

_TABLE = """\
-- Why: an agent waits for prices.
-- Locks: SHARE ROW EXCLUSIVE on agents for a moment.
-- Rollback loses: all alerts.

CREATE TABLE {name} (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT {name}_pkey PRIMARY KEY,
    agent_id uuid NOT NULL CONSTRAINT {name}_agent_id_fkey REFERENCES agents (id) ON DELETE CASCADE,
    price numeric(38, 18) NOT NULL CONSTRAINT {name}_price_check CHECK (price > 0),
    note text
);
CREATE INDEX {name}_agent_id_idx ON {name} (agent_id);
"""

_QUERIES = """\
-- Prices that agents wait for.

-- name: create :one
-- Creates an alert of the agent.
INSERT INTO {name} (agent_id, price)
VALUES (:agent_id, :price)
RETURNING
    id,
    agent_id,
    price;

-- name: list_by_agent :many
-- The agent's alerts, oldest first.
SELECT
    id,
    agent_id,
    price
FROM {name}
WHERE agent_id = :agent_id
ORDER BY id
LIMIT :limit;
"""

_MODULE = '''\
"""Alerts."""

from decimal import Decimal
from pathlib import Path
from uuid import UUID

from nexgent_db.{flavour} import Repository, query
from nexgent_db.models import TokenNumber
from nexgent_db.models.base import Limit, Row


class Alert(Row):
    id: int
    agent_id: UUID
    price: TokenNumber


class Alerts(Repository, sql=Path(__file__).parent / "sql" / "{name}.sql"):
    @query
    {define} create(self, agent_id: UUID, price: TokenNumber) -> Alert: ...

    @query
    {define} list_by_agent(self, agent_id: UUID, limit: Limit = 100) -> list[Alert]: ...
'''


@dataclass(frozen=True, slots=True)
class Service:
    """The folder of a service. ``name`` is new each time: that of its package, query file, table and history."""

    root: Path
    name: str

    @property
    def sql(self) -> Path:
        return self.root / self.name / "sql" / f"{self.name}.sql"

    @property
    def module(self) -> Path:
        return self.root / self.name / "alerts.py"

    @property
    def migrations(self) -> Path:
        return self.root / "migrations"

    @property
    def contract(self) -> Path:
        return self.root / "contract.json"

    def migration(self, name: str, up: str, down: str = "SELECT 1;") -> Path:
        """Writes a migration."""
        (self.migrations / f"{name}.sql").write_text(up)
        (self.migrations / f"{name}.rollback.sql").write_text(down)
        return self.migrations / f"{name}.sql"


def write_service(root: Path, *, flavour: str = "aio") -> Service:
    """A service in the folder ``root``, which is made."""
    service = Service(root, f"alerts_{secrets.token_hex(4)}")
    service.sql.parent.mkdir(parents=True)
    service.migrations.mkdir()
    (root / "pyproject.toml").write_text(
        f"""\
[project]
name = "alerts"

[tool.nexgent-db]
modules = ["{service.name}"]
sql = ["{service.name}/sql"]
contract = "contract.json"
migrations = {{ {service.name} = "migrations" }}
"""
    )
    (root / service.name / "__init__.py").write_text("")
    define = "async def" if flavour == "aio" else "def"
    service.module.write_text(_MODULE.format(name=service.name, flavour=flavour, define=define))
    service.sql.write_text(_QUERIES.format(name=service.name))
    service.migration("20270101000000_create_alerts", _TABLE.format(name=service.name), f"DROP TABLE {service.name};")
    return service
