# Generated from nexgent_db/aio/repositories/signal_executions.py by `make sync`: do not edit.
"""Signal executions: ``sql/signal_executions.sql``."""

from __future__ import annotations

from uuid import UUID

from pydantic import AwareDatetime

from nexgent_db.models.base import Limit, LongText
from nexgent_db.models.signals import FinalStatus, SignalExecution
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository


class SignalExecutionRepository(Repository, sql="signal_executions"):
    """Agents' executions of signals: an agent claims a signal once and finishes it once."""

    @query
    def find(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """This agent's execution of this signal."""
        ...

    @query
    def create_pending(self, signal_id: int, agent_id: UUID) -> SignalExecution | None:
        """Claim the signal for the agent; None when the agent has claimed it already: :meth:`find` returns it then.

        A concurrent claim waits for the first one's commit. Raises ForeignKeyViolation when there is no such signal or
        agent.
        """
        ...

    @query
    def finish(
        self,
        execution_id: UUID,
        status: FinalStatus,
        transaction_id: UUID | None = None,
        error: LongText | None = None,
    ) -> SignalExecution | None:
        """Give a pending execution its final status; None when it does not exist or is final already."""
        ...

    def mark_executed(self, execution_id: UUID, transaction_id: UUID) -> SignalExecution | None:
        """Finish the execution as EXECUTED, by this transaction. See :meth:`finish`."""
        return self.finish(execution_id, "EXECUTED", transaction_id)

    def mark_failed(self, execution_id: UUID, error: LongText) -> SignalExecution | None:
        """Finish the execution as FAILED. See :meth:`finish`."""
        return self.finish(execution_id, "FAILED", None, error)

    def mark_skipped(self, execution_id: UUID, reason: LongText) -> SignalExecution | None:
        """Finish the execution as SKIPPED: the agent decided not to act on the signal. See :meth:`finish`."""
        return self.finish(execution_id, "SKIPPED", None, reason)

    @query
    def list_by_signal(self, signal_id: int, limit: Limit | None = None) -> list[SignalExecution]:
        """The executions of this signal, by agent.

        Raises ListTooLong without a limit, for more than 10,000 executions.
        """
        ...

    @query
    def list_stuck_pending(self, claimed_before: AwareDatetime, limit: Limit | None = None) -> list[SignalExecution]:
        """Executions that were claimed before this time and are still PENDING, oldest first.

        Finish those of a limit, then ask again. Raises ListTooLong without a limit, for more than 10,000 executions.
        """
        ...
