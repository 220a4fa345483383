"""The generator of the synchronous layer: each rule and refusal; the committed files are up to date."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.codegen.async_to_sync import NAMES, CannotConvert, convert, differences, expected, main, present, tidy

TREES = {"aio": "sync"}


# --- Code -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("async def f(): ...", "def f(): ..."),
        ("async with a as b: ...", "with a as b: ..."),
        ("async for a in b: ...", "for a in b: ..."),
        ("x = [a async for a in b]", "x = [a for a in b]"),
        ("x = await f()", "x = f()"),
        ("return await f(await g())", "return f(g())"),
        ("if not await f(): ...", "if not f(): ..."),
        ("while not await alive(c := await get()): ...", "while not alive(c := get()): ..."),
    ],
)
def test_keywords_are_dropped(source: str, twin: str) -> None:
    assert convert(source) == twin


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("(await f()).g", "f().g"),
        ("await (await f(x)).close()", "f(x).close()"),
        ("assert (await a.b[0](c))[1] == 2", "assert a.b[0](c)[1] == 2"),
        ("return (await (await f()).g()).h", "return f().g().h"),
        ("f(await g())", "f(g())"),
        ("f[0](await g())", "f[0](g())"),
        ("asyncio.sleep(await g())", "time.sleep(g())"),
        ("(await f() or 1).g", "(f() or 1).g"),
        ("(await f(), 1)", "(f(), 1)"),
        ("(await f(),)", "(f(),)"),
        ("(await not_one_line\n.f()).g", "(not_one_line\n.f()).g"),
        ("(await f(\n1)).g", "f(\n1).g"),
    ],
)
def test_only_parentheses_of_await_are_dropped(source: str, twin: str) -> None:
    assert convert(source) == twin


@pytest.mark.parametrize(("name", "twin"), NAMES.items())
def test_names_are_replaced_whole_in_code_comments_and_strings(name: str, twin: str) -> None:
    source = "a = b.{0}  # see {0}, not {0}_ or my{0}\nc = ':class:`{0}`', f'{0} {{{0}}}'\n"
    assert convert(source.format(name)) == source.format(twin).replace(f"{twin}_", f"{name}_").replace(
        f"my{twin}", f"my{name}"
    )


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("from nexgent_db.aio.repositories import a", "from nexgent_db.sync.repositories import a"),
        ("import nexgent_db.aio", "import nexgent_db.sync"),
        ("from tests.integration.aio.factories import a", "from tests.integration.sync.factories import a"),
        ("from redis.asyncio import Redis", "from redis import Redis"),
        ("await asyncio.sleep(1)", "time.sleep(1)"),
        ("a = asyncio.current_task()", "a = threading.get_ident()"),
        ("a = asyncio.Lock()", "a = threading.Lock()"),
        ("@pytest_asyncio.fixture\nasync def f(): ...", "@pytest.fixture\ndef f(): ..."),
        ("patch('nexgent_db.aio.database.asyncio.sleep')", "patch('nexgent_db.sync.database.time.sleep')"),
    ],
)
def test_dotted_names_are_replaced(source: str, twin: str) -> None:
    assert convert(source) == twin


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ("a: Awaitable[int]", "a: int"),
        ("a: Callable[..., Awaitable[list[T]]] | None", "a: Callable[..., list[T]] | None"),
        ("a: Awaitable[Awaitable[AsyncIterator[T]]]", "a: Iterator[T]"),
        ("a: Awaitable[\n    dict[str, int],\n]", "a: dict[str, int]"),
        ("a: Coroutine[Any, Any, tuple[int, str]]", "a: tuple[int, str]"),
        ("a: AsyncGenerator[int]", "a: Generator[int, None, None]"),
        ("a: AsyncGenerator[dict[str, int], S]", "a: Generator[dict[str, int], S, None]"),
        ("a: AsyncGenerator[int, Awaitable[S]]", "a: Generator[int, S, None]"),
        ("a: AsyncGenerator[\n    int,\n    S,\n]", "a: Generator[\n    int,\n    S,\nNone]"),
    ],
)
def test_types_lose_their_wrapping(source: str, twin: str) -> None:
    assert convert(source) == twin


# --- Imports ----------------------------------------------------------------------------------------


def test_asyncio_is_replaced_by_synchronous_modules() -> None:
    source = "import asyncio\nasync def f():\n    await asyncio.sleep(1)\n    return asyncio.current_task()\n"
    twin = "import threading\nimport time\ndef f():\n    time.sleep(1)\n    return threading.get_ident()\n"
    assert convert(source) == twin


def test_asyncio_inside_function_keeps_its_place() -> None:
    source = "def f():\n    import asyncio\n    a = asyncio.sleep, asyncio.Lock\n"
    twin = "def f():\n    import threading\n    import time\n    a = time.sleep, threading.Lock\n"
    assert convert(source) == twin


def test_imports_are_unique_and_used() -> None:
    source = (
        "import asyncio\n"
        "import time\n"
        "from collections.abc import AsyncIterator, Awaitable, Iterator\n"
        "\n"
        "import pytest\n"
        "import pytest_asyncio\n"
        "\n"
        "from nexgent_db.aio.x import X\n"
        "from nexgent_db.queries.binding import Y\n"
        "\n"
        "\n"
        "@pytest_asyncio.fixture\n"
        "async def f(x: X, y: Y, do: Awaitable[None]) -> AsyncIterator[Iterator[int]]:\n"
        "    await asyncio.sleep(time.time())\n"
    )
    twin = (
        "import time\n"
        "from collections.abc import Iterator\n"
        "\n"
        "import pytest\n"
        "\n"
        "from nexgent_db.queries.binding import Y\n"
        "from nexgent_db.sync.x import X\n"
        "\n"
        "\n"
        "@pytest.fixture\n"
        "def f(x: X, y: Y, do: None) -> Iterator[Iterator[int]]:\n"
        "    time.sleep(time.time())\n"
    )
    assert tidy(convert(source), "nexgent_db/sync/sample.py") == twin


def test_twin_is_reformatted() -> None:
    source = (
        "async def find(\n"
        "    session: str, email: str, password_hash: str | None, user_id: int | None = None, limit: int = 1000\n"
        ") -> int:\n"
        "    return (await get(session, email, password_hash, user_id, limit)).user_id\n"
    )
    twin = (
        "def find(session: str, email: str, password_hash: str | None, user_id: int | None = None, limit: int = 1000)"
        " -> int:\n"
        "    return get(session, email, password_hash, user_id, limit).user_id\n"
    )
    assert tidy(convert(source), "nexgent_db/sync/sample.py") == twin


# --- Comments and strings -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "twin"),
    [
        ('"""Asynchronous, run asynchronously."""', '"""Synchronous, run synchronously."""'),
        ("# an asynchronous call", "# a synchronous call"),
        ("'this task, other tasks; multitasking'", "'this thread, other threads; multitasking'"),
        ('"""``async with db.transaction() as tx: await tx.f()``"""', '"""``with db.transaction() as tx: tx.f()``"""'),
        ("'Await both, or await nothing.'", "'Await both, or await nothing.'"),
        ("f'task {task} {{task}}'", "f'thread {task} {{thread}}'"),
        ("f'{asyncio.current_task()!r:>{width}}'", "f'{threading.get_ident()!r:>{width}}'"),
        ("task = 1", "task = 1"),
    ],
)
def test_words_are_replaced_in_comments_and_strings_only(source: str, twin: str) -> None:
    assert convert(source) == twin


def test_synchronous_code_stays_unchanged() -> None:
    source = Path(__file__).with_name("test_sqlfiles.py").read_text(encoding="utf-8")
    assert convert(source) == source


# --- Refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = await asyncio.gather(f())", "no synchronous form of asyncio.gather is known"),
        ("asyncio.create_task(f())", "no synchronous form of asyncio.create_task is known"),
        ("@pytest.mark.asyncio\nasync def f(): ...", "no synchronous form of asyncio is known"),
        ("@pytest_asyncio.is_async_test\ndef f(): ...", "no synchronous form of pytest_asyncio.is_async_test is known"),
        ("from asyncio import sleep", "only 'import asyncio' can be converted, not 'from asyncio import sleep'"),
        ("import asyncio as aio", "only 'import asyncio' can be converted"),
        ("from nexgent_db import aio", "no synchronous form of aio is known"),
        ("from psycopg import AsyncSomething", "no synchronous form of AsyncSomething is known"),
        ("def make_async(): ...", "no synchronous form of make_async is known"),
        ("a: Awaitable", "Awaitable without its type"),
        ("a: Awaitable[\n    int  # why\n]", "a comment inside Awaitable[...]"),
        ("a = f'{await b}'", "await inside an f-string"),
        ("a = f'{[b async for b in c]}'", "await inside an f-string"),
        ("a = f'{asyncio.gather(b)}'", "no synchronous form of asyncio.gather is known"),
        ("a = f'{AsyncSomething}'", "no synchronous form of AsyncSomething is known"),
        ("a = (", "EOF in multi-line statement"),
    ],
)
def test_unconvertible_code_is_error(source: str, problem: str) -> None:
    with pytest.raises(CannotConvert) as refused:
        convert(source, "aio/x.py")
    assert str(refused.value).startswith("aio/x.py:")
    assert problem in str(refused.value)


def test_error_names_every_place() -> None:
    with pytest.raises(CannotConvert) as refused:
        convert("asyncio.gather()\n\nasyncio.wait()\n", "aio/x.py")
    assert [line.split(" ")[0] for line in str(refused.value).splitlines()] == ["aio/x.py:1:", "aio/x.py:3:"]


# --- Files ------------------------------------------------------------------------------------------------


def _source(root: Path, text: str, name: str = "aio/deep/x.py") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_twin_names_its_source(tmp_path: Path) -> None:
    _source(tmp_path, "async def f():\n    pass\n")
    assert main([], tmp_path, TREES) == 0
    assert present(tmp_path, TREES) == {
        "sync/deep/x.py": "# Generated from aio/deep/x.py by `make sync`: do not edit.\ndef f():\n    pass\n"
    }
    assert main(["--check"], tmp_path, TREES) == 0


def test_check_shows_stale_files_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _source(tmp_path, "x = 1\n")
    _source(tmp_path, "", "aio/__init__.py")
    assert main(["--check"], tmp_path, TREES) == 1
    assert "sync/deep/x.py (missing)" in capsys.readouterr().out
    main([], tmp_path, TREES)
    before = present(tmp_path, TREES)

    source.write_text("x = 2\n", encoding="utf-8")
    capsys.readouterr()
    assert main(["--check"], tmp_path, TREES) == 1
    assert "\n-x = 1\n+x = 2\n" in capsys.readouterr().out

    source.unlink()
    assert main(["--check"], tmp_path, TREES) == 1
    assert "sync/deep/x.py (has no source)" in capsys.readouterr().out
    assert present(tmp_path, TREES) == before


def test_twin_without_source_is_deleted(tmp_path: Path) -> None:
    source = _source(tmp_path, "x = 1\n")
    main([], tmp_path, TREES)
    source.unlink()
    assert main([], tmp_path, TREES) == 0
    assert present(tmp_path, TREES) == {}


def test_file_written_by_hand_is_never_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _source(tmp_path, "x = 1\n", "sync/mine.py")
    _source(tmp_path, "", "sync/empty.py")
    assert main(["--check"], tmp_path, TREES) == 1
    assert "sync/empty.py: has no source" in capsys.readouterr().out
    assert main([], tmp_path, TREES) == 1
    assert "sync/empty.py, sync/mine.py: not generated" in capsys.readouterr().err
    assert len(present(tmp_path, TREES)) == 2


def test_no_file_is_written_when_one_source_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _source(tmp_path, "x = 1\n", "aio/a.py")
    _source(tmp_path, "\nasyncio.gather()\n", "aio/b.py")
    _source(tmp_path, "x = = 1\n", "aio/c.py")
    assert main([], tmp_path, TREES) == 1
    problems = capsys.readouterr().err
    assert "aio/b.py:2: no synchronous form of asyncio.gather is known" in problems
    assert "sync/c.py: ruff" in problems
    assert present(tmp_path, TREES) == {}


def test_long_diff_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _source(tmp_path, "".join(f"x{number} = 1\n" for number in range(200)))
    assert main(["--check"], tmp_path, TREES) == 1
    out = capsys.readouterr().out
    assert len(out.splitlines()) < 80
    assert "lines more" in out


def test_committed_twins_are_fresh() -> None:
    assert differences(expected(), present()) == [], "run make sync"
