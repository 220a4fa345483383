"""Compares the content of the cache with the database: reads both raw, without any of the package's code.

A cache is correct when every entry equals the database: no row differs, no row is an orphan, and no complete set has a
member too many or too few. A missing entry is never wrong.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import psycopg
import redis
from psycopg.rows import dict_row

_SUFFIXES: Final = (":fence", ":load_lease", ":complete")
_OWN: Final = ("epoch", "watermark", "epoch:resetter", "scanner", "statistics")
_COORDINATION: Final = ("price:", "signal:", "signal_create:", "idempotency:", "lock:")


def differences(cache: redis.Redis, database: psycopg.Connection[Any], prefix: str) -> list[str]:
    """One line for every key that differs from the database; empty when the cache is correct.

    Only meaningful while neither changes. ``cache`` decodes its answers.
    """
    rows, sets = _expected(database)
    keys = sorted(key.removeprefix(prefix) for key in cache.scan_iter(f"{prefix}*", count=1000))
    kept = [
        key for key in keys if key not in _OWN and not key.startswith(_COORDINATION) and not key.endswith(_SUFFIXES)
    ]
    indexes = [key for key in kept if key == "active_agents" or key.endswith((":positions", ":balances"))]
    cached = [key for key in kept if key not in indexes]
    with cache.pipeline(transaction=False) as pipeline:
        for key in cached:
            pipeline.get(prefix + key)
        for key in indexes:
            pipeline.get(f"{prefix}{key}:complete")
            pipeline.smembers(prefix + key)
        answers = iter(pipeline.execute())
    found: list[str] = []
    for key in cached:
        text = next(answers)
        if key not in rows:
            found.append(f"{key}: an orphan, {text}")
        elif wrong := _row_differences(text, rows[key]):
            found.append(f"{key}: {wrong}")
    for key in indexes:
        found += _set_differences(key, next(answers), next(answers), sets)
    return found


def missing(cache: redis.Redis, database: psycopg.Connection[Any], prefix: str) -> list[str]:
    """The rows that are not cached, and the sets that have members and are not complete."""
    rows, sets = _expected(database)
    keys = {key.removeprefix(prefix) for key in cache.scan_iter(f"{prefix}*", count=1000)}
    return sorted(rows.keys() - keys) + sorted(key for (key, _), members in sets.items() if members and key not in keys)


def _expected(database: psycopg.Connection[Any]) -> tuple[dict[str, Any], dict[tuple[str, str], set[str]]]:
    """What every row's key should hold, and every set's members by its key and whose it is."""
    rows: dict[str, Any] = {}
    sets: dict[tuple[str, str], set[str]] = {}
    with database.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute("SELECT * FROM agent_positions").fetchall():
            rows[f"position:{row['id']}"] = row
            agent, token = str(row["agent_id"]), row["token_address"].lower()
            sets.setdefault((f"agent:{agent}:positions", agent), set()).add(str(row["id"]))
            sets.setdefault((f"token:{token}:positions", token), set()).add(str(row["id"]))
        for row in cursor.execute("SELECT * FROM agent_balances").fetchall():
            agent, wallet, token = row["agent_id"], row["wallet_address"], row["token_address"]
            rows[f"balance:{agent}:{wallet}:{token}"] = row
            sets.setdefault((f"wallet:{wallet}:balances", f"{agent} {wallet}"), set()).add(token)
        active = sets.setdefault(("active_agents", "all"), set())
        for row in cursor.execute("SELECT * FROM agents").fetchall():
            flags = {mode: row[f"automated_trading_{mode}"] for mode in ("simulation", "live")}
            for mode, flag in flags.items():
                rows[f"agent:{row['id']}:automated_trading:{mode}"] = "1" if flag else "0"
            rows[f"agent:{row['id']}:trading_mode"] = row["trading_mode"]
            document = {"version": row["version"], "agentId": str(row["id"]), **(row["trading_config"] or {})}
            rows[f"config:{row['id']}"] = document
            if flags[row["trading_mode"]]:
                active.add(str(row["id"]))
    return rows, sets


def _row_differences(text: str, expected: Any) -> str:
    """How a cached value differs from the row; empty when it does not."""
    if isinstance(expected, str):
        return "" if text == expected else f"{text}, not {expected}"
    cached = json.loads(text)
    if "trading_mode" not in expected and "agentId" in expected:  # a configuration: a document already
        return "" if cached == expected else f"{text}, not {expected}"
    wanted = {_camel(name): value for name, value in expected.items()}
    if cached.keys() != wanted.keys():
        return f"other fields: {sorted(cached.keys() ^ wanted.keys())}"
    wrong = [name for name, value in wanted.items() if not _same(cached[name], value)]
    return ", ".join(f"{name} is {cached[name]!r}, not {wanted[name]!r}" for name in wrong)


def _same(cached: Any, value: Any) -> bool:
    match value:
        case Decimal():
            return type(cached) is str and Decimal(cached).as_tuple() == value.as_tuple()
        case UUID():
            return bool(cached == str(value))
        case datetime():
            return datetime.fromisoformat(cached) == value
        case list():
            return len(cached) == len(value) and all(map(_same, cached, value))
    return bool(cached == value)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.title() for word in tail)


def _set_differences(
    key: str, marker: str | None, members: set[str], sets: dict[tuple[str, str], set[str]]
) -> list[str]:
    """How a set differs. It counts as complete when its marker has its owner and the number of its members."""
    size, _, whose = (marker or "").partition(" ")
    if not size or int(size) != len(members):
        return []
    wanted = sets.get((key, whose), set())
    if members == wanted:
        return []
    return [f"{key} of {whose}: too many {sorted(members - wanted)}, too few {sorted(wanted - members)}"]
