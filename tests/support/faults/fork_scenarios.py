"""A process that forks with an open database: ``python -m tests.support.faults.fork_scenarios NAME [ARGUMENT ...]``.

DATABASE_URL, with an application name, and REDIS_URL come from the environment. The last line printed is the report.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from psycopg.conninfo import conninfo_to_dict

from nexgent_db import Database
from nexgent_db.models import SOL_MINT
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, new_owner
from tests.support.faults import fork_work
from tests.support.faults.forking import Channel, Child, Sessions, Stuck, fork, server_sockets
from tests.support.faults.held_locks import held, locks_of

POOL: Final = 3
"""Connections of every pool, always."""


class Parent:
    """An open database, its sessions and sockets, and an owner for the parent and one for the child."""

    def __init__(self) -> None:
        self.settings = Settings.from_env()
        url = os.environ["DATABASE_URL"]
        self.sessions = Sessions(url, str(conninfo_to_dict(url)["application_name"]))
        others = server_sockets()
        self.db = Database(self.settings)
        self.db.open()
        self.mine, self.childs = new_owner(self.db), new_owner(self.db)
        for owner in (self.mine, self.childs):
            fork_work.run(self.db, owner, 0.2, threads=POOL)  # prepared statements; the cache is in use
        self.backends = self.sessions.pids_when(lambda pids: len(pids) == POOL)
        self.sockets = server_sockets(others)

    def report(self, **more: Any) -> dict[str, Any]:
        """The state of the parent's sessions; whether every connection of its pool still answers."""
        work = fork_work.run(self.db, self.mine, 0.2, threads=POOL)
        return {
            "backends_before": self.backends,
            "backends_after": self.sessions.pids(),
            "afterwards": work.report(self.db),
            "wallets": {"parent": self.mine.wallet_address, "child": self.childs.wallet_address},
            **more,
        }


def both_at_once(seconds: str) -> dict[str, Any]:
    """Parent and child read and deposit at the same time."""
    parent = Parent()

    def work(channel: Channel) -> None:
        done = fork_work.run(parent.db, parent.childs, float(seconds)).report(parent.db)
        channel.send({**done, "sockets": sorted(server_sockets() & parent.sockets)})
        channel.receive(60)  # the parent looks at the sessions meanwhile
        parent.db.close()

    child = fork(work)
    mine = fork_work.run(parent.db, parent.mine, float(seconds)).report(parent.db)
    childs = child.result()
    during = parent.sessions.pids()
    child.channel.send("close")
    code = child.exit_code()
    return parent.report(parent=mine, child=childs, backends_during=during, exit_code=code)


def generations(seconds: str) -> dict[str, Any]:
    """Parent, child and the child's child at the same time; the child forks with connections of its own in use."""
    parent = Parent()
    grandchilds = new_owner(parent.db)

    def work(owner: Owner) -> dict[str, Any]:
        return fork_work.run(parent.db, owner, float(seconds)).report(parent.db)

    def in_child(channel: Channel) -> None:
        others = server_sockets()
        fork_work.step(parent.db, fork_work.Work(parent.childs))
        own = server_sockets(others)
        grandchild = fork(lambda to_child: to_child.send([work(grandchilds), sorted(server_sockets() & own)]))
        channel.send(work(parent.childs))
        channel.send(grandchild.result())
        grandchild.exit_code()
        channel.send(work(parent.childs))

    child = fork(in_child)
    mine = work(parent.mine)
    childs, (grandchild, inherited), afterwards = child.result(), child.result(), child.result()
    child.exit_code()
    return parent.report(works=[mine, childs, grandchild, afterwards], inherited=inherited)


def reads_local_rows() -> dict[str, Any]:
    """The child reads rows of the parent's local cache, and then changes them."""
    parent = Parent()
    owner = parent.mine

    def read() -> str:
        balance = parent.db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
        return str(balance.balance if balance else None)

    def use(channel: Channel) -> None:
        channel.receive()
        until = time.monotonic() + 1.5  # longer than what is kept may be believed
        seen = set()
        while time.monotonic() < until:
            seen.add(read())
        channel.send([sorted(seen), parent.db.cache.metrics().hits])

    before = read()
    child = fork(use)
    parent.db.trades.deposit(owner.deposit("1"))
    mine = read()
    child.channel.send("changed")
    childs, hits = child.result()
    return parent.report(before=before, parent=mine, child=childs, hits=hits)


def beside_threads(forks: str) -> dict[str, Any]:
    """Fork again and again while threads of the parent query, wait for a connection and hold locks."""
    parent = Parent()
    stop = threading.Event()
    work = fork_work.Work(parent.mine)

    def trade() -> None:
        while not stop.is_set():
            try:
                fork_work.step(parent.db, work)
            except Exception as error:
                work.failed_with(error)

    threads = [threading.Thread(target=trade, daemon=True) for _ in range(2 * POOL)]
    for thread in threads:
        thread.start()
    children: list[dict[str, Any]] = []

    def once(channel: Channel) -> None:
        channel.send(_once(parent.db, parent.childs))

    stuck = 0
    for number in range(int(forks)):
        child = _fork_in_thread(once) if number % 2 else fork(once)
        try:
            children.append(child.result())
            child.exit_code()
        except (Stuck, EOFError) as error:
            stuck += 1
            print(f"child {number}: {error!r}", file=sys.stderr)
            if stuck == 2:
                break
    stop.set()
    for thread in threads:
        thread.join(10)
    work.stuck = sum(thread.is_alive() for thread in threads)
    return parent.report(parent=work.report(parent.db), children=children, stuck_children=stuck)


def with_locks_held() -> dict[str, Any]:
    """Fork while another thread holds every lock that the database reaches."""
    parent = Parent()
    locks = locks_of(parent.db)

    def once(channel: Channel) -> None:
        channel.send(_once(parent.db, parent.childs))

    with held(locks) as count:
        child = fork(once)
        try:
            childs, stuck = child.result(), False
        except Stuck:
            childs, stuck = None, True
    return parent.report(locks=[type(lock).__name__ for lock in locks], held=count, child=childs, stuck=stuck)


def _once(db: Database, owner: Owner) -> dict[str, Any]:
    work = fork_work.Work(owner)
    try:
        fork_work.step(db, work)
    except Exception as error:
        work.failed_with(error)
    return work.report(db)


def _fork_in_thread(function: Callable[[Channel], object]) -> Child:
    forked: list[Child] = []
    thread = threading.Thread(target=lambda: forked.append(fork(function)))
    thread.start()
    thread.join()
    return forked[0]


# --- Blocks and streams begun before the fork -----------------------------------------------------


def in_transaction(pipeline: str, leave: str) -> dict[str, Any]:
    """The child uses, then leaves, the parent's transaction; the parent commits it afterwards."""
    parent = Parent()
    owner = parent.mine
    orders = [owner.deposit("1") for _ in range(4)]

    class Left(Exception):
        pass

    block = parent.db.transaction(pipeline=pipeline == "pipeline")
    tx = block.__enter__()
    inner_block = tx.transaction()
    inner = inner_block.__enter__()
    tx.trades.deposit(orders[0])

    def use(channel: Channel) -> None:
        used = {
            "query": _error_of(lambda: tx.users.find_by_id(owner.user_id)),
            "trade": _error_of(lambda: tx.trades.deposit(orders[1])),
            "inner": _error_of(lambda: inner.trades.deposit(orders[1])),
            "new inner": _error_of(lambda: tx.transaction().__enter__()),
            "database within": _error_of(lambda: parent.db.users.find_by_id(owner.user_id)),
        }
        leaving = Left() if leave == "raising" else None
        for name, one in (("leave inner", inner_block), ("leave", block)):
            used[name] = _error_of(lambda one=one: one.__exit__(type(leaving) if leaving else None, leaving, None))  # type: ignore[misc]
        used["database"] = _error_of(lambda: parent.db.users.find_by_id(owner.user_id))
        channel.send({"used": used, "pid": os.getpid(), "parent": os.getppid()})

    child = fork(use)
    used = child.result()
    child.exit_code()
    inner.trades.deposit(orders[2])
    inner_block.__exit__(None, None, None)
    tx.trades.deposit(orders[3])
    block.__exit__(None, None, None)
    return parent.report(child=used, orders=[str(order.trade_id) for order in orders])


def in_stream() -> dict[str, Any]:
    """The child goes on with the parent's stream, then ends it; the parent reads the rest afterwards."""
    parent = Parent()
    owner = parent.mine
    made = parent.db.signals.create_many_of(owner.user_id, fork_work.signals())
    stream: Any = parent.db.signals.stream_by_user(owner.user_id)
    ids = [next(stream).id]

    def use(channel: Channel) -> None:
        rows = []
        used = {"stream": _error_of(lambda: rows.extend(stream)), "close": _error_of(stream.close)}
        used["database"] = _error_of(lambda: parent.db.users.find_by_id(owner.user_id))
        channel.send({"used": used, "rows": len(rows), "pid": os.getpid(), "parent": os.getppid()})

    child = fork(use)
    used = child.result()
    child.exit_code()
    ids += [row.id for row in stream]
    return parent.report(child=used, complete=sorted(ids) == sorted(signal.id for signal in made))


def _error_of(call: Callable[[], object]) -> list[str] | None:
    """The error's type and message, and the types of those that it was raised in; None when there is none."""
    try:
        call()
    except Exception as error:
        return fork_work.described(error)
    return None


# --- The end of a process -------------------------------------------------------------------------


WAYS: Final = ("normal", "_exit", "exception", "SIGKILL", "collect", "close")


def child_ends(used: str) -> dict[str, Any]:
    """Children end in every way, one after another, with and without having used the database."""
    parent = Parent()
    collected = weakref.ref(parent.db)

    def child_of(way: str) -> Child:
        def use(channel: Channel) -> None:
            if used == "used":
                fork_work.step(parent.db, fork_work.Work(parent.childs))
            if way == "close":
                parent.db.close()
            if way == "collect":
                del parent.db
                gc.collect()
            channel.send("kept" if collected() else "collected")
            if way == "SIGKILL":
                signal.pause()

        def leave() -> None:
            if way == "exception":
                raise RuntimeError("the child fails")

        return fork(use, then=leave if way in ("normal", "exception") else None)

    ended: dict[str, Any] = {}
    for way in WAYS:
        child = child_of(way)
        ready = child.result()
        code = child.kill() if way == "SIGKILL" else child.exit_code()
        fork_work.run(parent.db, parent.mine, 0.1, threads=POOL)  # a dead connection would be replaced now
        ended[way] = {"ready": ready, "exit_code": code, "backends": parent.sessions.pids()}
    return parent.report(ended=ended)


def parent_is_killed() -> dict[str, Any]:
    """A process in between opens the database, forks and is killed: its sessions must end though its child lives on."""
    url = os.environ["DATABASE_URL"]
    sessions = Sessions(url, str(conninfo_to_dict(url)["application_name"]))
    ours, theirs = os.pipe()

    def survive(_: Channel) -> None:
        os.close(theirs)
        os.read(ours, 1)  # until the scenario ends

    def middle(channel: Channel) -> None:
        parent = Parent()
        child = fork(survive)
        channel.send({"backends": parent.backends, "child": child.pid})
        signal.pause()

    killed = fork(middle)
    before = killed.result(60)
    killed.kill()
    after = sessions.pids_when(lambda pids: not pids)
    lives = Path(f"/proc/{before['child']}").exists()
    os.close(theirs)
    return {"backends_before": before["backends"], "backends_after": after, "child_lives": lives}


def main() -> None:
    """Run the scenario named."""
    name, *arguments = sys.argv[1:]
    scenario: Callable[..., dict[str, Any]] = globals()[name]
    report = scenario(*arguments)
    print(json.dumps(report, default=str), flush=True)
    os._exit(0)  # nothing that a fault left behind may hold it up


if __name__ == "__main__":
    main()
