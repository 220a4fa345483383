-- Signal executions: one row per signal and agent that claimed it. Model: SignalExecution.
-- A row starts as PENDING; the next status is final. Lock order: one execution's row and no other.

-- name: find :optional
-- This agent's execution of this signal.
SELECT
    id,
    signal_id,
    agent_id,
    status,
    transaction_id,
    error,
    executed_at
FROM signal_executions
WHERE signal_id = :signal_id AND agent_id = :agent_id;

-- name: create_pending :optional
-- Claims the signal for the agent. No row comes back when the agent has claimed it already; a concurrent claim waits
-- for the first one's commit.
INSERT INTO signal_executions (signal_id, agent_id, status)
VALUES (:signal_id, :agent_id, 'PENDING')
ON CONFLICT (signal_id, agent_id) DO NOTHING
RETURNING
    id,
    signal_id,
    agent_id,
    status,
    transaction_id,
    error,
    executed_at;

-- name: finish :optional
-- Gives a pending execution its final status. No row comes back when it does not exist or is final already.
UPDATE signal_executions
SET
    status = :status,
    transaction_id = :transaction_id,
    error = :error,
    executed_at = now()
WHERE id = :execution_id AND status = 'PENDING'
RETURNING
    id,
    signal_id,
    agent_id,
    status,
    transaction_id,
    error,
    executed_at;

-- name: list_by_signal :many
-- The executions of this signal, by agent.
SELECT
    id,
    signal_id,
    agent_id,
    status,
    transaction_id,
    error,
    executed_at
FROM signal_executions
WHERE signal_id = :signal_id
ORDER BY agent_id, id
LIMIT :limit;

-- name: list_stuck_pending :many
-- Executions that were claimed before this time and are still PENDING, oldest first.
SELECT
    id,
    signal_id,
    agent_id,
    status,
    transaction_id,
    error,
    executed_at
FROM signal_executions
WHERE status = 'PENDING' AND executed_at < :claimed_before
ORDER BY executed_at, id
LIMIT :limit;
