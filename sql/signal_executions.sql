-- Signal executions: what one agent did with one signal; there is one at the most. Model: SignalExecution.
-- PENDING is written first; the status that follows is final.

-- name: find :optional
-- What this agent did with this signal.
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
-- Claims the signal for the agent. No row comes back when it was claimed before, also by a caller at this moment.
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
-- Gives a pending execution its final status. No row comes back when there is none, or it is final already.
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
-- What the agents did with this signal, by agent.
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
-- Executions that were claimed before this time and never finished, oldest first.
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
