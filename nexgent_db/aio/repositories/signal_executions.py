"""Signal executions: ``sql/signal_executions.sql``."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.aio._repository import Repository
from nexgent_db.binding import query
from nexgent_db.models._base import Limit, LongText
from nexgent_db.models.signals import FinalStatus, SignalExecution


class SignalExecutionRepository(Repository, sql="signal_executions"):
    """What agents did with signals: claimed once, finished once."""

    @query
    async def find(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """What this agent did with this signal."""
        ...

    @query
    async def create_pending(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """Claim the signal for the agent; None when it was claimed before, then :meth:`find` has it.

        Of two callers at once, one gets the execution. Raises ForeignKeyViolation without such a signal or agent.
        """
        ...

    @query
    async def finish(
        self,
        execution_id: UUID,
        status: FinalStatus,
        transaction_id: UUID | None = None,
        error: LongText | None = None,
    ) -> SignalExecution | None:
        """Give a pending execution its final status; None when there is none, or it has one already."""
        ...

    async def mark_executed(self, execution_id: UUID, transaction_id: UUID) -> SignalExecution | None:
        """The agent made this transaction of it."""
        return await self.finish(execution_id, "EXECUTED", transaction_id)

    async def mark_failed(self, execution_id: UUID, error: LongText) -> SignalExecution | None:
        """The agent tried and failed."""
        return await self.finish(execution_id, "FAILED", None, error)

    async def mark_skipped(self, execution_id: UUID, reason: LongText) -> SignalExecution | None:
        """The agent decided not to act on it."""
        return await self.finish(execution_id, "SKIPPED", None, reason)

    @query
    async def list_by_signal(self, signal_id: int, limit: Limit = 1000) -> list[SignalExecution]:
        """What the agents did with this signal, by agent."""
        ...

    @query
    async def list_stuck_pending(self, claimed_before: AwareDatetime, limit: Limit = 100) -> list[SignalExecution]:
        """Executions claimed before this time and never finished, oldest first."""
        ...
