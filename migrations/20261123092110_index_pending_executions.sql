-- transactional: false
-- Why: signal_executions.list_stuck_pending reads the pending ones, which are few, in the order of this index.
-- Locks: SHARE UPDATE EXCLUSIVE on signal_executions while the index is built; reads and writes go on.
-- Rollback loses: nothing but speed.

CREATE INDEX CONCURRENTLY IF NOT EXISTS signal_executions_pending_idx
ON signal_executions (executed_at, id) WHERE status = 'PENDING';
