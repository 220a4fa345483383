-- transactional: false
-- Why: the foreign key to agent_transactions: a deletion there would read every execution.
-- Locks: SHARE UPDATE EXCLUSIVE on signal_executions while the index is built; reads and writes go on.
-- Rollback loses: nothing but speed.

CREATE INDEX CONCURRENTLY IF NOT EXISTS signal_executions_transaction_id_idx
ON signal_executions (transaction_id);
