"""The steps of a conversion: each is explicit SQL, done or not by what the catalog shows, so an ended run goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg

from nexgent_db.errors import MigrationError
from nexgent_db.migrations.partitions.definition import (
    Definition,
    dependent_objects,
    read_definition,
    referring_keys,
)
from nexgent_db.migrations.partitions.routines import (
    cleaning_after,
    cleaning_steps,
    restored_routines,
    routines_of,
    set_aside,
)
from nexgent_db.migrations.partitions.step import PartitionStep, quoted
from nexgent_db.migrations.partitions.tables import (
    KEYS_TABLE,
    Bound,
    GrowingTable,
    Interval,
    literal,
    parsed_bounds,
    ranges,
)
from nexgent_db.resources import data_dir

__all__ = ["Goal", "is_partitioned", "partition_statements", "pending_steps"]

_Connection = psycopg.Connection[Any]


def resource(name: str) -> str:
    """A file of ``migrations/partitioned``, without its comments."""
    text = (data_dir("migrations") / "partitioned" / name).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()


def is_partitioned(conn: _Connection, name: str) -> bool:
    """Whether the table is partitioned."""
    return bool(_value(conn, "SELECT relkind = 'p' FROM pg_class WHERE oid = to_regclass(%s)", name))


def _value(conn: _Connection, query: str, *parameters: object) -> Any:
    row = conn.execute(query.encode(), parameters or None).fetchone()
    return None if row is None else row[0]


# --- The pending steps --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Goal:
    """What the partitions of a table are to be: the first ends at ``first_ends``, the last has ``until`` in it."""

    first_ends: Bound
    until: Bound
    interval: Interval


def pending_steps(
    conn: _Connection, table: GrowingTable, goal: Goal, *, keys_planned: bool = False
) -> list[PartitionStep]:
    """The steps of this table's conversion that the catalog does not show, each as it is after those before it.

    Raises MigrationError for objects that would go on reading the old table, and where keys are needed first.
    """
    if is_partitioned(conn, table.name):
        return cleaning_steps(conn)
    definition = read_definition(conn, table.name)
    if not definition.columns:
        raise MigrationError(f"{table.name}: there is no such table: migrate the database first (nexgent-db migrate)")
    if objects := dependent_objects(conn, table.name):
        raise MigrationError(
            f"{table.name}: {', '.join(objects)} would go on reading the first partition alone:"
            " drop it, partition the table, and create it again"
        )
    if table.name == "trade_requests" and not keys_planned and not is_partitioned(conn, "agent_transactions"):
        raise MigrationError("trade_requests: partition agent_transactions first: its keys keep a trade's id unique")
    steps: list[PartitionStep] = []
    if table.name == "agent_transactions":
        steps += _key_steps(conn)
    definition = _with_key_triggers(definition)
    pkey, definition = _index_steps(conn, table, definition)
    bound, definition = _bound_steps(table, definition, goal.first_ends)
    swap = _swap(conn, table, definition, goal)
    return [*steps, *pkey, *bound, swap, *([cleaning_after(conn, table)] if routines_of(conn, table.name) else [])]


def _key_steps(conn: _Connection) -> Iterator[PartitionStep]:
    """What must be unique over all partitions goes into a table of its own; foreign keys refer to that."""
    made = _value(conn, "SELECT to_regclass(%s)", KEYS_TABLE) is not None
    if not made:
        query = "SELECT relowner::regrole::text FROM pg_class WHERE oid = to_regclass('agent_transactions')"
        owner = _value(conn, query)
        yield PartitionStep(
            "make the keys of transactions",
            "An id, and a wallet's hash and leg, must be unique over all partitions; from now on triggers keep them.",
            (
                "LOCK TABLE agents IN EXCLUSIVE MODE",
                resource("agent_transaction_keys.sql"),
                f"ALTER TABLE {KEYS_TABLE} OWNER TO {owner}",
                f"ALTER FUNCTION keep_transaction_key() OWNER TO {owner}",
                f"ALTER FUNCTION keep_request_key() OWNER TO {owner}",
            ),
        )
    if not made or _value(conn, f"SELECT obj_description('{KEYS_TABLE}'::regclass, 'pg_class')") is None:
        yield PartitionStep(
            "fill the keys of transactions",
            "The rows of before, in batches; wallets keep their address during one.",
            (_FILL, _FILL_RESETS, f"COMMENT ON TABLE {KEYS_TABLE} IS '{_FILLED}'"),
            "batches",
        )
    there = {(key.table, key.name): key.validated for key in referring_keys(conn, KEYS_TABLE)} if made else {}
    for key in referring_keys(conn, "agent_transactions"):
        new = f"{key.name}_new"
        if (key.table, new) not in there:
            text = _referring_to_keys(key.definition.removesuffix(" NOT VALID"))
            yield PartitionStep(
                f"let {key.table} refer to the keys",
                "A foreign key beside the old one, for new rows at first.",
                (f"ALTER TABLE {key.table} ADD CONSTRAINT {new} {text} NOT VALID",),
            )
        if key.validated and not there.get((key.table, new)):
            yield PartitionStep(
                f"validate {new}",
                "Reads the table; nothing waits for it.",
                (f"ALTER TABLE {key.table} VALIDATE CONSTRAINT {new}",),
            )


_FILLED: Final = (
    "What is unique over all partitions of agent_transactions: ids, and hash and leg of a wallet; ids of resets too."
)

_FILL: Final = """\
WITH page AS (
    SELECT t.id, t.wallet_address, t.transaction_hash, t.transaction_leg
    FROM agent_transactions AS t
    WHERE t.id > %s
    ORDER BY t.id
    LIMIT 20000
),

filled AS (
    INSERT INTO agent_transaction_keys (id, wallet_address, transaction_hash, transaction_leg)
    SELECT
        p.id,
        CASE WHEN p.transaction_hash IS NOT NULL THEN p.wallet_address END,
        p.transaction_hash,
        CASE WHEN p.transaction_hash IS NOT NULL THEN p.transaction_leg END
    FROM page AS p
    ON CONFLICT (id) DO NOTHING
)

SELECT p.id FROM page AS p ORDER BY p.id DESC LIMIT 1"""

_FILL_RESETS: Final = """\
INSERT INTO agent_transaction_keys (id)
SELECT r.id FROM trade_requests AS r WHERE r.operation = 'reset_wallet'
ON CONFLICT (id) DO NOTHING"""


def _with_key_triggers(definition: Definition) -> Definition:
    """The definition with the triggers that keep the keys."""
    text = resource("agent_transaction_keys.sql")
    triggers = {
        part.split()[0]: f"CREATE TRIGGER {' '.join(part.strip().removesuffix(';').split())}"
        for part in text.split("CREATE TRIGGER ")[1:]
        if f" ON {definition.name}\n" in part
    }
    return replace(definition, row_triggers={**triggers, **definition.row_triggers})


def _index_steps(
    conn: _Connection, table: GrowingTable, definition: Definition
) -> tuple[list[PartitionStep], Definition]:
    """The first partition's primary key, which has the column of the partitions too."""
    name = f"{table.first}_pkey"
    columns = ", ".join(table.primary_key)
    make = f"CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table.name} ({columns})"
    steps: list[PartitionStep] = []
    for index, unique in definition.unique_columns.items():
        if unique == table.primary_key and (index != name or _is_valid(conn, index)):
            return steps, definition
    if name in definition.indexes:
        drop = f"DROP INDEX CONCURRENTLY {name}"
        steps.append(PartitionStep(f"drop {name}", "An interrupted run left it INVALID.", (drop,), "alone"))
    why = "The primary key of a partition has the column of the partitions too. Nothing waits for it."
    steps.append(PartitionStep(f"index {columns} of {table.name}", why, (make,), "alone"))
    return steps, replace(
        definition,
        indexes={**definition.indexes, name: make},
        unique_columns={**definition.unique_columns, name: table.primary_key},
    )


def _is_valid(conn: _Connection, index: str) -> bool:
    return bool(_value(conn, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(quote_ident(%s))", index))


def _bound_steps(
    table: GrowingTable, definition: Definition, first_ends: Bound
) -> tuple[list[PartitionStep], Definition]:
    """The first partition's bound as a constraint, so that nothing is read while the table is locked."""
    name = table.first_check
    steps: list[PartitionStep] = []
    validate = "Reads the table; nothing waits for it."
    for key, (kind, text) in definition.constraints.items():
        if kind == "f" and text.endswith(" NOT VALID"):
            statement = f"ALTER TABLE {table.name} VALIDATE CONSTRAINT {key}"
            steps.append(PartitionStep(f"validate {key}", validate, (statement,)))
    _, text = definition.constraints.get(name, ("c", ""))
    if not text:
        text = f"CHECK ({table.key} < {literal(first_ends, 'MAXVALUE')}) NOT VALID"
        statement = f"ALTER TABLE {table.name} ADD CONSTRAINT {name} {text}"
        steps.append(
            PartitionStep(f"bound {table.name}", "Every row of before is below it: new rows at first.", (statement,))
        )
    if text.endswith(" NOT VALID"):
        statement = f"ALTER TABLE {table.name} VALIDATE CONSTRAINT {name}"
        steps.append(PartitionStep(f"validate the bound of {table.name}", validate, (statement,)))
    constraints = {**definition.constraints, name: ("c", text.removesuffix(" NOT VALID"))}
    return steps, replace(definition, constraints=constraints)


def bound_of(table: GrowingTable, definition: Definition) -> Bound:
    """Where the first partition ends, by its constraint."""
    found = re.search(r"< '?([^':)]+(?::[^')]*)?)", definition.constraints[table.first_check][1])
    assert found is not None, definition.constraints[table.first_check]
    text = found[1].strip()
    return parsed_bounds(f"FROM (MINVALUE) TO ('{text}')", by_version=table.by_version)[1]


# --- The swap -----------------------------------------------------------------------------------


def _swap(conn: _Connection, table: GrowingTable, definition: Definition, goal: Goal) -> PartitionStep:
    routines = routines_of(conn, table.name)
    bound = bound_of(table, definition)
    return PartitionStep(
        f"partition {table.name}",
        "Locks the table, and trades, for the time of catalog changes; nothing is read or written.",
        (
            *_locks(conn, table),
            *_switch_keys(conn, table),
            *set_aside(routines),
            *_make_first(table, definition),
            *_make_parent(table, definition),
            f"ALTER TABLE {table.name} ATTACH PARTITION {table.first}"
            f" FOR VALUES FROM (MINVALUE) TO ({literal(bound, 'MAXVALUE')})",
            f"ALTER TABLE {table.first} DROP CONSTRAINT {table.first_check}",
            *partition_statements(table, definition, bound, goal.until, goal.interval),
            *restored_routines(routines),
            *((resource("transaction_taken_v1.sql"),) if table.name == "agent_transactions" else ()),
        ),
    )


def _locks(conn: _Connection, table: GrowingTable) -> Iterator[str]:
    """Trades begin with a lock on agents: behind it, none has begun and none holds another lock."""
    yield "LOCK TABLE agents IN EXCLUSIVE MODE"
    referring = sorted({key.table for key in referring_keys(conn, table.name)})
    for name in (*referring, table.name):
        yield f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"


def _switch_keys(conn: _Connection, table: GrowingTable) -> Iterator[str]:
    for key in referring_keys(conn, table.name):
        yield f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}"
        yield f"ALTER TABLE {key.table} RENAME CONSTRAINT {key.name}_new TO {key.name}"


def _make_first(table: GrowingTable, definition: Definition) -> Iterator[str]:
    """The table as it was becomes a partition: its triggers and keys are the parent's from now on."""
    for name in definition.row_triggers:
        yield f"DROP TRIGGER {name} ON {table.name}"
    for policy in definition.policies:
        name = policy.removeprefix("CREATE POLICY ").partition(" ON ")[0]
        yield f"DROP POLICY {name} ON {table.name}"
    for grant in definition.grants:
        yield _revoked(grant)
    for name, (kind, _) in definition.constraints.items():
        if kind in ("p", "u") and table.key not in definition.unique_columns[name]:
            yield f"ALTER TABLE {table.name} DROP CONSTRAINT {name}"
        elif kind in ("p", "u"):
            yield f"ALTER INDEX {name} RENAME TO {_of_first(table, name)}"
    for name in definition.indexes:
        if name != f"{table.first}_pkey":
            yield f"ALTER INDEX {name} RENAME TO {_of_first(table, name)}"
    yield f"ALTER TABLE {table.name} RENAME TO {table.first}"
    if f"{table.first}_pkey" in definition.indexes:
        yield f"ALTER TABLE {table.first} ADD CONSTRAINT {table.first}_pkey PRIMARY KEY USING INDEX {table.first}_pkey"


def _of_first(table: GrowingTable, name: str) -> str:
    return f"{table.first}{name.removeprefix(table.name)}" if name.startswith(table.name) else f"{name}_first"


def _revoked(grant: str) -> str:
    words, _, to = grant.removesuffix(" WITH GRANT OPTION").rpartition(" TO ")
    return f"REVOKE {words.removeprefix('GRANT ')} FROM {to}"


def _make_parent(table: GrowingTable, definition: Definition) -> Iterator[str]:
    name = table.name
    yield (
        f"CREATE TABLE {name} (LIKE {table.first} INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION"
        f" INCLUDING COMMENTS INCLUDING CONSTRAINTS) PARTITION BY RANGE ({table.key})"
    )
    yield f"ALTER TABLE {name} OWNER TO {definition.owner}"
    yield f"ALTER TABLE {name} ADD CONSTRAINT {name}_pkey PRIMARY KEY ({', '.join(table.primary_key)})"
    yield f"ALTER TABLE {name} DROP CONSTRAINT {table.first_check}"
    for constraint, (kind, text) in definition.constraints.items():
        if kind == "c" and text.endswith(" NOT VALID"):  # LIKE makes it valid, which the first partition's is not
            yield f"ALTER TABLE {name} DROP CONSTRAINT {constraint}"
            yield f"ALTER TABLE {name} ADD CONSTRAINT {constraint} {text}"
        elif kind == "f" or (kind == "u" and table.key in definition.unique_columns[constraint]):
            valid = text.removesuffix(" NOT VALID")
            yield f"ALTER TABLE {name} ADD CONSTRAINT {constraint} {_referring_to_keys(valid)}"
    for index, text in definition.indexes.items():
        unique = definition.unique_columns.get(index)
        if index != f"{table.first}_pkey" and (unique is None or table.key in unique):
            yield text
    yield from definition.row_triggers.values()
    yield from definition.statement_triggers.values()
    if definition.comment is not None:
        yield f"COMMENT ON TABLE {name} IS {quoted(definition.comment)}"
    yield from definition.policies
    if definition.row_security:
        yield f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"
    yield from definition.grants


def _referring_to_keys(text: str) -> str:
    return text.replace("REFERENCES agent_transactions(", f"REFERENCES {KEYS_TABLE}(", 1)


def partition_statements(
    table: GrowingTable, definition: Definition, start: Bound, until: Bound, interval: Interval, *, later: bool = True
) -> Iterator[str]:
    """Make the partitions from ``start`` to the one that ``until`` is in, and the one for everything after them."""
    end = start
    for name, low, high in ranges(table, start, until, interval):
        yield from _partition(table, definition, name, low, high)
        end = high
    if later:
        yield from _partition(table, definition, table.later, end, None)


def _partition(table: GrowingTable, definition: Definition, name: str, low: Bound, high: Bound) -> Iterator[str]:
    options = f" WITH ({', '.join(definition.options)})" if definition.options else ""
    yield (
        f"CREATE TABLE {name} PARTITION OF {table.name}"
        f" FOR VALUES FROM ({literal(low, 'MINVALUE')}) TO ({literal(high, 'MAXVALUE')}){options}"
    )
    yield f"ALTER TABLE {name} OWNER TO {definition.owner}"
    for text in definition.statement_triggers.values():  # those for rows follow the parent's by themselves
        yield text.replace(f" ON {table.name} ", f" ON {name} ", 1)
