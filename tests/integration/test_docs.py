"""The examples of README and of the pages run as written and print the output that the pages show."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.aio import Repository
from nexgent_db.models import SOL_MINT, DepositOrder
from tests.integration.test_cli import in_own_process, nexgent_db
from tests.integration.test_cli_errors import COMMANDS
from tests.support.builders.pages import PAGES, ROOT, Command, Example, examples, is_as_shown, named_commands
from tests.support.servers.prisma import HISTORY, Prisma
from tests.support.servers.roles import RoledDatabase

RUN = [page for page in PAGES if any(example.not_run is None for example in examples(page))]


class Page:
    """Runs the examples of one page, one after the other."""

    def __init__(self, environ: dict[str, str], folder: Path, names: dict[str, Any]) -> None:
        self._environ = environ
        self._folder = folder
        self._names = names

    async def run(self, example: Example) -> None:
        if example.language == "console":
            for command in example.commands():
                self._run_command(example, command)
        elif example.title is not None:
            path = self._folder / example.title
            path.parent.mkdir(exist_ok=True)
            path.write_text(example.text, encoding="utf-8")
        else:
            await self._continue(example)

    def _run_command(self, example: Example, command: Command) -> None:
        match command.words:
            case ("make", _):
                return  # that there is such a target is tested below
            case ("nexgent-db", *arguments) if (self._folder / "pyproject.toml").is_file():
                done = in_own_process("--project", self._folder, *arguments, **self._environ, COLUMNS="100")
            case ("nexgent-db", *arguments):
                done = nexgent_db(*arguments, **self._environ, COLUMNS="100")
            case ("python", *arguments):
                strict = [] if arguments[0] == "-m" else ["-W", "error"]  # programs of others warn
                done = subprocess.run(
                    [sys.executable, *strict, *arguments],
                    cwd=self._folder,
                    env=os.environ | self._environ | {"PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
            case _:
                raise AssertionError(f"{example}: {command.words} cannot be run here: mark the block as not run")
        assert done.returncode == command.exit_code, (str(example), command.words, done.stdout, done.stderr)
        if command.printed:
            assert is_as_shown(done.stdout, command.printed), (str(example), command.words, done.stdout)

    async def _continue(self, example: Example) -> None:
        code = compile("\n" * (example.line - 1) + example.text, example.page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with redirect_stdout(StringIO()) as printed:
            if inspect.isawaitable(awaitable := eval(code, self._names)):
                await awaitable
        if printed.getvalue() or example.printed is not None:
            assert is_as_shown(printed.getvalue(), example.printed or ""), (str(example), printed.getvalue())


@pytest.fixture
def page_url(page: Path, request: pytest.FixtureRequest) -> str:
    """The URL of the database with which a page's examples start."""
    url: str
    match page.relative_to(ROOT / "docs" / "pages").as_posix() if "pages" in page.parts else "":
        case "guides/adopt-prisma.md":
            prisma: Prisma = request.getfixturevalue("prisma")
            url = prisma(len(HISTORY))
        case "concepts/tenants.md":
            roled: RoledDatabase = request.getfixturevalue("roled")
            url = roled.url_of("app")
        case _:
            url = request.getfixturevalue("fresh_database_url")
    return url


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
async def test_examples_of_page_print_shown_output(
    page: Path, page_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_run = [example for example in examples(page) if example.not_run is None]
    environ = {"DATABASE_URL": page_url, "REDIS_URL": redis_url, "NEXGENT_DB_CACHE_PREFIX": f"{uuid4()}:"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    async with AsyncDatabase.from_env() as db:
        names = {"url": page_url, "db": db}
        if any(example.language == "python" and example.title is None for example in to_run):
            names |= await _rows(db)
        runner = Page(environ, tmp_path, names)
        for example in to_run:
            await runner.run(example)


async def _rows(db: AsyncDatabase) -> dict[str, Any]:
    """The rows that every reader creates, as docs/pages/index.md says."""
    async with db.transaction() as tx:
        user = await tx.users.create("reader@example.org")
        agent = await tx.agents.create(user.id, "an agent")
        wallet = await tx.wallets.create("simulated-1", agent.id, "simulation")
        sol = {"token_address": SOL_MINT, "token_symbol": "SOL", "amount": 10}
        mine = {"agent_id": agent.id, "wallet_address": wallet.wallet_address}
        await tx.trades.deposit(DepositOrder.model_validate({**mine, **sol}))
    return {"user": user, "agent": agent, "wallet": wallet}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_of_page_exist(page: Path) -> None:
    problems = [
        f"{example}: {problem}"
        for example in examples(page)
        if example.language == "console"
        for command in example.commands()
        if (problem := command.problem())
    ]
    problems += [f"{page.name}: {problem}" for command in named_commands(page) if (problem := command.problem())]
    assert problems == []


def test_every_command_stands_in_a_page() -> None:
    text = " ".join("\n".join(page.read_text(encoding="utf-8") for page in PAGES).split())
    assert [name for name in COMMANDS if not re.search(rf"(?:nexgent-db |`){name}\b(?!-)", text)] == []


def test_unknown_command_option_or_target_is_found() -> None:
    def problem(*words: str) -> str | None:
        return Command(words, "", 0).problem()

    assert problem("nexgent-db", "cache", "status", "--json") is None
    assert problem("nexgent-db", "cache", "boil") == "cache has no command boil"
    assert problem("nexgent-db", "migrate", "--quickly") == "migrate has no option --quickly"
    assert problem("make", "test") is None
    assert problem("make", "coffee") == "make has no coffee"


def broken_includes(text: str) -> list[str]:
    """The lines that should include a file, and which the page would show as they are, or that name no file."""
    lines = [line for line in text.splitlines() if re.search(r"-\s*8\s*<|8\s*<\s*-", line)]
    included = {line: re.fullmatch(r'--8<-- "([^"]+)"', line) for line in lines}
    return [line for line, found in included.items() if found is None or not (ROOT / found[1]).is_file()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_included_by_page_exist(page: Path) -> None:
    assert broken_includes(page.read_text(encoding="utf-8")) == []


def test_include_that_is_formatted_or_of_no_file_is_found() -> None:
    good, *bad = (
        '--8<-- "README.md"',
        '--8 < --"README.md"',
        '--8<--"README.md"',
        '--8<-- "READ.md"',
        "-8<-- README.md",
    )
    assert broken_includes("\n".join(["```python", good, *bad, "if 8 < 9:", "```"])) == bad


def test_guide_of_the_service_shows_each_file_that_its_table_names() -> None:
    text = (ROOT / "docs" / "pages" / "guides" / "service.md").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:price_alerts/)?[a-z_]+\.(?:py|sql))`", "\n".join(re.findall(r"^\|.*$", text, re.MULTILINE)))
    )
    shown = {Path(path).name for path in re.findall(r'^--8<-- "([^"]+)"$', text, re.MULTILINE)}
    assert len(named) > 5
    assert {Path(path).name for path in named} - shown == set()


def calls_that_do_not_exist(text: str) -> list[str]:
    """Of the calls named in the text, such as `positions.list_open`, those that no repository and no cache has."""
    db = AsyncDatabase("postgresql://localhost/none")
    parts = {f"cache.{name}": getattr(db.cache, name) for name in ("coordination", "prices", "admin", "maintenance")}
    parts |= {name: part for name, part in vars(db).items() if isinstance(part, Repository)} | {"cache": db.cache}
    found = re.findall(r"`(?:db\.|tx\.)?((?:cache\.)?[a-z_]+)\.([a-z_]+)\b[^`\n]*`", text)
    return [f"{of}.{name}" for of, name in found if of in parts and not hasattr(parts[of], name)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_calls_named_by_page_exist(page: Path) -> None:
    assert calls_that_do_not_exist(page.read_text(encoding="utf-8")) == []


def test_call_that_does_not_exist_is_found() -> None:
    text = "`positions.list_open`, `db.positions.list_opened(1)`, `cache.coordination.lock`, `cache.coordination.look`"
    assert calls_that_do_not_exist(text) == ["positions.list_opened", "cache.coordination.look"]


def test_other_output_does_not_match() -> None:
    assert is_as_shown("a 12 b  \n", "a … b")
    assert not is_as_shown("a 12 c", "a … b")
    assert not is_as_shown("", "a")
    assert not is_as_shown("a\nb", "a")


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("*/README.md")], ids=lambda page: page.name)
def test_links_between_files_resolve(page: Path) -> None:
    """Those of the pages below docs/ are checked by ``make docs``."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
