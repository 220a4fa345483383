"""A module with a database, as services have it, and what multiprocessing's children do with it:

``python -m tests.support.servers.process_database METHOD`` starts children by that method while the parent works.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from nexgent_db import AsyncDatabase, Database
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults import fork_work
from tests.support.faults.fork_work import described
from tests.support.faults.forking import Sessions

CHILDREN = 2
POOL = 2
SECONDS = 2.0
_database: Database | None = None
_opened_in = 0


def database() -> Database:
    """The process's own: opened where it is first used, and in a forked child the parent's object."""
    global _database, _opened_in
    if _database is None:
        _database = Database.from_env()
        _database.open()
        _opened_in = os.getpid()
    return _database


def work(owner: Owner) -> dict[str, Any]:
    """The work of a child."""
    done = fork_work.run(database(), owner, SECONDS).report(database())
    pid = os.getpid()
    return {**done, "inherited": pid != _opened_in, "pid": pid, "wallet": owner.wallet_address}


def _pickled(method: str) -> list[str]:
    """The result of passing a database to a process as an argument."""
    process = multiprocessing.get_context(method).Process(target=repr, args=(database(),))  # type: ignore[attr-defined]
    try:
        process.start()
    except Exception as error:
        return described(error)
    process.join()
    return ["started", str(process.exitcode)]


def main() -> None:
    """Work in the parent and in a pool's children; report."""
    (method,) = sys.argv[1:]
    url = os.environ["DATABASE_URL"]
    sessions = Sessions(url, str(conninfo_to_dict(url)["application_name"]))
    db = database()
    mine, *owners = [new_owner(db) for _ in range(1 + 2 * CHILDREN)]
    fork_work.run(db, mine, 0.2, threads=POOL)
    before = sessions.pids_when(lambda pids: len(pids) == POOL)
    once = 1 if method == "fork" else None  # then each is replaced: a start takes long by the other methods
    with multiprocessing.get_context(method).Pool(CHILDREN, maxtasksperchild=once) as pool:
        children = pool.map_async(work, owners, chunksize=1)
        parents = fork_work.run(db, mine, 2 * SECONDS).report(db)
        reports = children.get(90)
    after = sessions.pids_when(lambda pids: len(pids) <= POOL)
    errors = {}
    for name, it in {"sync": db, "async": AsyncDatabase(url), "block": db.transaction()}.items():
        try:
            pickle.dumps(it)
        except Exception as error:
            errors[name] = described(error)
    report = {
        "parent": {**parents, "wallet": mine.wallet_address},
        "children": reports,
        "backends_before": before,
        "backends_after": after,
        "pickled": errors,
        "argument": _pickled(method),
    }
    print(json.dumps(report, default=str), flush=True)


if __name__ == "__main__":
    from tests.support.servers import process_database  # the module as the children import it

    process_database.main()
