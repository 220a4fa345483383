"""Makes a partitioned table whole again: its first partition takes the rows of the others, and its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import psycopg

from nexgent_db.errors import InvalidInput
from nexgent_db.migrations.partitions.definition import Definition, read_definition, referring_keys
from nexgent_db.migrations.partitions.routines import (
    OLD,
    cleaning_steps,
    restored_routines,
    routines_of,
    set_aside,
)
from nexgent_db.migrations.partitions.step import PartitionStep
from nexgent_db.migrations.partitions.steps import is_partitioned
from nexgent_db.migrations.partitions.tables import KEYS_TABLE, GrowingTable
from nexgent_db.migrations.partitions.upkeep import count_rows, partitions_of
from nexgent_db.resources import data_dir

__all__ = ["undo_steps"]

_Connection = psycopg.Connection[Any]

_WHOLE: Final = {
    "agent_transactions": {
        "agent_transactions_pkey": ("PRIMARY KEY", "id"),
        "agent_transactions_wallet_address_transaction_hash_key": (
            "UNIQUE",
            "wallet_address, transaction_hash, transaction_leg",
        ),
    },
    "agent_historical_swaps": {"agent_historical_swaps_pkey": ("PRIMARY KEY", "id")},
    "trade_requests": {"trade_requests_pkey": ("PRIMARY KEY", "id")},
    "agent_balance_snapshots": {"agent_balance_snapshots_pkey": ("PRIMARY KEY", "id")},
    "cache_outbox": {"cache_outbox_pkey": ("PRIMARY KEY", "version")},
}
"""The keys that a table has again when it is whole."""


def undo_steps(conn: _Connection, table: GrowingTable, max_rows: int) -> list[PartitionStep]:
    """The steps that make the table whole, by what the catalog shows; none when it is, and nothing is left to do.

    Raises InvalidInput when more than ``max_rows`` rows lie outside of the first partition, and for the ledger's table
    while another still uses its keys.
    """
    if not is_partitioned(conn, table.name):
        return [*cleaning_steps(conn), *_validating(conn, table)]
    if table.name == "agent_transactions" and is_partitioned(conn, "trade_requests"):
        raise InvalidInput("tables", "trade_requests uses the keys of agent_transactions: undo it first")
    outside = sum(count_rows(conn, each.name) for each in partitions_of(conn, table) if each.name != table.first)
    if outside > max_rows:
        raise InvalidInput(
            "max_rows", f"{table.name}: {outside:,} rows would be copied while trades wait, and {max_rows:,} may be"
        )
    first = read_definition(conn, table.first)
    steps = [
        PartitionStep(
            f"index {columns} of {table.first}",
            "For the whole table's key. Nothing waits for it.",
            (f"CREATE UNIQUE INDEX CONCURRENTLY {_interim(name)} ON {table.first} ({columns})",),
            "alone",
        )
        for name, (_, columns) in _WHOLE[table.name].items()
        if _interim(name) not in first.indexes
    ]
    return [*steps, _swap_back(conn, table, first)]


def _interim(name: str) -> str:
    return f"{name.removesuffix('_key').removesuffix('_pkey')}_whole"


def _swap_back(conn: _Connection, table: GrowingTable, first: Definition) -> PartitionStep:
    parent = read_definition(conn, table.name)
    routines = routines_of(conn, table.name)
    others = [each.name for each in partitions_of(conn, table) if each.name != table.first]
    listed = ", ".join(parent.columns)
    referring = referring_keys(conn, KEYS_TABLE) if table.name == "agent_transactions" else []
    return PartitionStep(
        f"make {table.name} whole",
        "Locks the table, and trades, while the rows of the other partitions are copied.",
        (
            "LOCK TABLE agents IN EXCLUSIVE MODE",
            *(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE" for name in sorted({key.table for key in referring})),
            f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE",
            *set_aside(routines),
            f"ALTER TABLE {table.name} DETACH PARTITION {table.first}",
            f"INSERT INTO {table.first} ({listed}) SELECT {listed} FROM {table.name}",  # noqa: S608
            *(f"DROP TABLE {name}" for name in others),
            *_parent_aside(table, parent),
            f"ALTER TABLE {table.first} RENAME TO {table.name}",
            *_keys_again(table, first),
            *_names_again(parent, first),
            *_triggers_again(table, parent, first),
            *parent.policies,
            *([f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"] if parent.row_security else []),
            *parent.grants,
            *restored_routines(routines),
            *(_without_keys(conn) if table.name == "agent_transactions" else ()),
        ),
    )


def _parent_aside(table: GrowingTable, parent: Definition) -> Iterator[str]:
    """Calls that are running have its row type: it is dropped with their functions."""
    for name, (kind, _) in parent.constraints.items():
        if kind in ("p", "u"):
            yield f"ALTER TABLE {table.name} DROP CONSTRAINT {name}"
    for name in parent.indexes:
        yield f"DROP INDEX {name}"
    for name in parent.row_triggers:
        yield f"DROP TRIGGER {name} ON {table.name}"
    for name, (kind, _) in parent.constraints.items():
        if kind == "f":
            yield f"ALTER TABLE {table.name} DROP CONSTRAINT {name}"
    yield f"ALTER TABLE {table.name} RENAME TO {table.name}{OLD}"


def _keys_again(table: GrowingTable, first: Definition) -> Iterator[str]:
    for name, (kind, _) in first.constraints.items():
        if kind == "p":
            yield f"ALTER TABLE {table.name} DROP CONSTRAINT {name}"
    for name, (kind, _) in _WHOLE[table.name].items():
        yield f"ALTER INDEX {_interim(name)} RENAME TO {name}"
        yield f"ALTER TABLE {table.name} ADD CONSTRAINT {name} {kind} USING INDEX {name}"


def _names_again(parent: Definition, first: Definition) -> Iterator[str]:
    """Each index of the first partition gets the name of the same one of the parent."""
    named = {_shape(text): name for name, text in parent.indexes.items()}
    for index, text in first.indexes.items():
        if name := named.get(_shape(text)):
            yield f"ALTER INDEX {index} RENAME TO {name}"


def _shape(text: str) -> str:
    return re.sub(r"INDEX \S+ ON (ONLY )?\S+", "INDEX", text)


def _triggers_again(table: GrowingTable, parent: Definition, first: Definition) -> Iterator[str]:
    whole = table.name != "agent_transactions"
    for text in parent.row_triggers.values():
        if whole or "keep_transaction_key" not in text:
            yield text
    for name, text in parent.statement_triggers.items():
        if name not in first.statement_triggers:
            yield text


def _without_keys(conn: _Connection) -> Iterator[str]:
    """Foreign keys refer to the table again, to be validated by the step that follows; the keys go."""
    for key in referring_keys(conn, KEYS_TABLE):
        text = key.definition.replace(f"REFERENCES {KEYS_TABLE}(", "REFERENCES agent_transactions(", 1)
        yield f"ALTER TABLE {key.table} DROP CONSTRAINT {key.name}"
        yield f"ALTER TABLE {key.table} ADD CONSTRAINT {key.name} {text.removesuffix(' NOT VALID')} NOT VALID"
    for trigger in ("trade_requests_key_kept", "trade_requests_key_follows"):
        yield f"DROP TRIGGER {trigger} ON trade_requests"
    yield "DROP FUNCTION keep_transaction_key()"
    yield "DROP FUNCTION keep_request_key()"
    yield f"DROP TABLE {KEYS_TABLE}"
    text = (data_dir("migrations") / "20261124100000_trade_steps.sql").read_text(encoding="utf-8")
    start = text.index("CREATE FUNCTION transaction_taken_v1")
    body = text[start : text.index("$$;", start) + 3]
    yield body.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", 1)


def _validating(conn: _Connection, table: GrowingTable) -> list[PartitionStep]:
    if table.name != "agent_transactions":
        return []
    return [
        PartitionStep(
            f"validate {key.name}",
            "Reads the table; nothing waits for it.",
            (f"ALTER TABLE {key.table} VALIDATE CONSTRAINT {key.name}",),
        )
        for key in referring_keys(conn, table.name)
        if not key.validated
    ]
