# Generated from nexgent_db/aio/access.py by `make sync`: do not edit.
"""All repositories on one session, and a service's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from nexgent_db.errors import InvalidInput
from nexgent_db.queries.adhoc import AdHocQuery, Executed, ad_hoc, caller_name
from nexgent_db.queries.dumping import dump_in_steps, is_long
from nexgent_db.sync.repositories.agents import AgentRepository
from nexgent_db.sync.repositories.api_keys import ApiKeyRepository
from nexgent_db.sync.repositories.balance_snapshots import BalanceSnapshotRepository
from nexgent_db.sync.repositories.balances import BalanceRepository
from nexgent_db.sync.repositories.base import Repository
from nexgent_db.sync.repositories.historical_swaps import HistoricalSwapRepository
from nexgent_db.sync.repositories.performance import PerformanceRepository
from nexgent_db.sync.repositories.positions import PositionRepository
from nexgent_db.sync.repositories.signal_executions import SignalExecutionRepository
from nexgent_db.sync.repositories.signals import SignalRepository
from nexgent_db.sync.repositories.trade_requests import TradeRequestRepository
from nexgent_db.sync.repositories.trades import Trades
from nexgent_db.sync.repositories.transactions import TransactionRepository
from nexgent_db.sync.repositories.user_cells import UserCellRepository
from nexgent_db.sync.repositories.users import UserRepository
from nexgent_db.sync.repositories.wallets import WalletRepository
from nexgent_db.sync.session import Session
from nexgent_db.sync.turns import take_turns

R = TypeVar("R", bound=Repository)


class Repositories:
    """The repositories and trades that a database and a transaction have in common."""

    def __init__(self, session: Session) -> None:
        self.agents = AgentRepository(session)
        self.api_keys = ApiKeyRepository(session)
        self.balance_snapshots = BalanceSnapshotRepository(session)
        self.balances = BalanceRepository(session)
        self.historical_swaps = HistoricalSwapRepository(session)
        self.performance = PerformanceRepository(session)
        self.positions = PositionRepository(session)
        self.signal_executions = SignalExecutionRepository(session)
        self.signals = SignalRepository(session)
        self.trade_requests = TradeRequestRepository(session)
        self.transactions = TransactionRepository(session)
        self.user_cells = UserCellRepository(session)
        self.users = UserRepository(session)
        self.wallets = WalletRepository(session)
        self.trades = Trades(session)
        self._own_session = session

    def use(self, repository: Callable[[Session], R]) -> R:
        """A repository of the service's own, ``use(PriceAlerts)``, on this database or in this transaction.

        Its queries run as those of this package: pooled or in the transaction, for the tenant, with hooks, names in
        pg_stat_activity, and the cache following what they change of its tables. Raises InvalidInput for a class that
        is no Repository of this module: the synchronous and the synchronous ones differ.
        """
        _ensure_repository(repository)
        return repository(self._own_session)

    def execute(self, sql: str, parameters: Mapping[str, object] | None = None, *, name: str | None = None) -> Executed:
        """Send one statement, ``execute("DELETE FROM alerts WHERE id = :id", {"id": 1})``: the escape hatch for what no
        named query can say. Returns its rows as dicts, and their number or that of the changed rows.

        It runs as a named query does: pooled and committed at once or in the transaction, for the tenant, with hooks,
        and the cache following what it changes of agents, balances and positions. Its name in pg_stat_activity and
        hooks is ``execute.`` and ``name``, by default module and function of the caller. Nothing proves its types, no
        list is bounded, and a statement without RETURNING answers with its count alone.

        Raises InvalidInput before anything is sent: for text that is not one statement, for a parameter that is
        unknown, missing or a float, an integer beyond 64 bits, a document of more than 1 MiB or one that is nested more
        than 255 deep; else what queries raise.
        """
        return self._execute(ad_hoc(sql, name or caller_name()), parameters or {})

    def _execute(self, statement: AdHocQuery, parameters: Mapping[str, object]) -> Executed:
        call = statement.call_with(parameters)
        if any(map(is_long, call.values)):
            call = call._replace(values=take_turns(dump_in_steps(call.values)))
        return statement.answer(self._own_session.run(statement, call))


def _ensure_repository(candidate: object) -> None:
    if not (isinstance(candidate, type) and issubclass(candidate, Repository)):
        named = getattr(candidate, "__qualname__", type(candidate).__qualname__)
        raise InvalidInput("repository", f"a subclass of {Repository.__module__}.Repository expected, {named} given")
