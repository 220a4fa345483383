"""A process that forks with an open asynchronous database, started as fork_scenarios.py is.

``python -m tests.support.faults.fork_scenarios_async NAME [ARGUMENT ...]``.

The parent's event loop stands still, or runs, while it forks; the child never touches that loop: it has its own by
``asyncio.run``. With the argument ``uvloop`` both are uvloop's.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from psycopg.conninfo import conninfo_to_dict

from nexgent_db import AsyncDatabase, Database
from nexgent_db.settings import Settings
from tests.integration.sync.factories import new_owner
from tests.support.faults import fork_work
from tests.support.faults.fork_scenarios import POOL
from tests.support.faults.forking import Channel, Sessions, Stuck, fork, server_sockets

new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


class Parent:
    """An open database in a loop of its own, its sessions and sockets, and an owner for the parent and the child."""

    def __init__(self) -> None:
        url = os.environ["DATABASE_URL"]
        self.sessions = Sessions(url, str(conninfo_to_dict(url)["application_name"]))
        with Database(Settings.from_env()) as db:
            self.mine, self.childs = new_owner(db), new_owner(db)
        self.runner = asyncio.Runner(loop_factory=new_loop)
        self.runner.get_loop()
        others = server_sockets()
        self.db = AsyncDatabase(Settings.from_env())
        self.runner.run(self.db.open())
        for owner in (self.mine, self.childs):
            self.runner.run(fork_work.run_async(self.db, owner, 0.2, tasks=POOL))
        self.backends = self.sessions.pids_when(lambda pids: len(pids) == POOL)
        self.sockets = server_sockets(others)

    def report(self, **more: Any) -> dict[str, Any]:
        """The state of the parent's sessions; whether every connection of its pool still answers."""
        work = self.runner.run(fork_work.run_async(self.db, self.mine, 0.2, tasks=POOL))
        return {
            "backends_before": self.backends,
            "backends_after": self.sessions.pids(),
            "afterwards": work.report(self.db),
            "wallets": {"parent": self.mine.wallet_address, "child": self.childs.wallet_address},
            **more,
        }


def run_anew(main: Coroutine[Any, Any, Any]) -> Any:
    """What a child calls: asyncio.run with the loop that was asked for."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(main)


def both_at_once(seconds: str) -> dict[str, Any]:
    """Parent and child read and deposit at the same time."""
    parent = Parent()

    async def work(channel: Channel) -> None:
        done = await fork_work.run_async(parent.db, parent.childs, float(seconds))
        channel.send({**done.report(parent.db), "sockets": sorted(server_sockets() & parent.sockets)})
        await asyncio.to_thread(channel.receive, 60)  # the parent looks at the sessions meanwhile
        await parent.db.close()

    child = fork(lambda channel: run_anew(work(channel)))
    mine = parent.runner.run(fork_work.run_async(parent.db, parent.mine, float(seconds))).report(parent.db)
    childs = child.result()
    during = parent.sessions.pids()
    child.channel.send("close")
    code = child.exit_code()
    return parent.report(parent=mine, child=childs, backends_during=during, exit_code=code)


def beside_tasks(forks: str) -> dict[str, Any]:
    """Fork again and again inside a task while others query, wait for a connection and hold locks."""
    parent = Parent()
    work = fork_work.Work(parent.mine)
    children: list[dict[str, Any]] = []
    stuck = 0
    over = False

    async def trade() -> None:
        while not over:
            try:
                await fork_work.step_async(parent.db, work)
            except Exception as error:
                work.failed_with(error)

    async def once(channel: Channel) -> None:
        done = fork_work.Work(parent.childs)
        try:
            await fork_work.step_async(parent.db, done)
        except Exception as error:
            done.failed_with(error)
        channel.send(done.report(parent.db))

    async def fork_again_and_again() -> None:
        nonlocal stuck, over
        tasks = [asyncio.create_task(trade()) for _ in range(2 * POOL)]
        for number in range(int(forks)):
            await asyncio.sleep(0.01)
            child = fork(lambda channel: run_anew(once(channel)))
            try:
                children.append(await asyncio.to_thread(child.result))
                await asyncio.to_thread(child.exit_code)
            except (Stuck, EOFError) as error:
                stuck += 1
                print(f"child {number}: {error!r}", file=sys.stderr)
                if stuck == 2:
                    break
        over = True
        await asyncio.wait(tasks, timeout=10)
        work.stuck = sum(not task.done() for task in tasks)

    parent.runner.run(fork_again_and_again())
    return parent.report(parent=work.report(parent.db), children=children, stuck_children=stuck)


def in_transaction(pipeline: str, leave: str) -> dict[str, Any]:
    """The child uses, then leaves, the parent's transaction; the parent commits it afterwards."""
    parent = Parent()
    owner = parent.mine
    orders = [owner.deposit("1") for _ in range(4)]
    run = parent.runner.run

    class Left(Exception):
        pass

    async def entered(block: Any) -> Any:
        return await block.__aenter__()

    async def left(block: Any, error: Exception | None) -> None:
        await block.__aexit__(type(error) if error else None, error, None)

    block = parent.db.transaction(pipeline=pipeline == "pipeline")
    tx = run(entered(block))
    inner_block = tx.transaction()
    inner = run(entered(inner_block))
    run(tx.trades.deposit(orders[0]))

    async def use(channel: Channel) -> None:
        used = {
            "query": await _error_of(tx.users.find_by_id(owner.user_id)),
            "trade": await _error_of(tx.trades.deposit(orders[1])),
            "inner": await _error_of(inner.trades.deposit(orders[1])),
            "new inner": await _error_of(entered(tx.transaction())),
            "database within": await _error_of(parent.db.users.find_by_id(owner.user_id)),
        }
        leaving = Left() if leave == "raising" else None
        used["leave inner"] = await _error_of(left(inner_block, leaving))
        used["leave"] = await _error_of(left(block, leaving))
        used["database"] = await _error_of(parent.db.users.find_by_id(owner.user_id))
        channel.send({"used": used, "pid": os.getpid(), "parent": os.getppid()})

    child = fork(lambda channel: run_anew(use(channel)))
    used = child.result()
    child.exit_code()
    run(inner.trades.deposit(orders[2]))
    run(left(inner_block, None))
    run(tx.trades.deposit(orders[3]))
    run(left(block, None))
    return parent.report(child=used, orders=[str(order.trade_id) for order in orders])


def in_stream() -> dict[str, Any]:
    """The child goes on with the parent's stream, then ends it; the parent reads the rest afterwards."""
    parent = Parent()
    owner = parent.mine

    async def begin() -> tuple[list[int], Any, int]:
        made = await parent.db.signals.create_many_of(owner.user_id, fork_work.signals())
        stream = parent.db.signals.stream_by_user(owner.user_id)
        return [signal.id for signal in made], stream, (await anext(stream)).id

    async def rest() -> list[int]:
        return [row.id async for row in stream]

    made, stream, first = parent.runner.run(begin())

    async def use(channel: Channel) -> None:
        rows = 0

        async def go_on() -> None:
            nonlocal rows
            async for _ in stream:
                rows += 1

        used = {"stream": await _error_of(go_on()), "close": await _error_of(stream.aclose())}
        used["database"] = await _error_of(parent.db.users.find_by_id(owner.user_id))
        channel.send({"used": used, "rows": rows, "pid": os.getpid(), "parent": os.getppid()})

    child = fork(lambda channel: run_anew(use(channel)))
    used = child.result()
    child.exit_code()
    ids = [first, *parent.runner.run(rest())]
    return parent.report(child=used, complete=sorted(ids) == sorted(made))


async def _error_of(call: Awaitable[object]) -> list[str] | None:
    """The error's type and message, and the types of those that it was raised in; None when there is none."""
    try:
        await call
    except Exception as error:
        return fork_work.described(error)
    return None


def main() -> None:
    """Run the scenario named."""
    global new_loop
    name, *arguments = sys.argv[1:]
    scenario: Callable[..., dict[str, Any]] = globals()[name]
    if "uvloop" in arguments:
        import uvloop

        arguments.remove("uvloop")
        new_loop = uvloop.new_event_loop
    report = scenario(*arguments)
    print(json.dumps(report, default=str), flush=True)
    os._exit(0)  # nothing that a fault left behind may hold it up


if __name__ == "__main__":
    main()
