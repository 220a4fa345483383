-- Why: pages of a user's signals and the search for stuck executions read an index in the order they return, so that
-- page 10,000 costs what page 1 costs.
-- Locks: SHARE on both tables while the indexes are built: they can be read, not written.
-- Rollback loses: nothing but speed.
-- squawk-ignore-file require-concurrent-index-creation

-- signals.list_by_user, signals.stream_by_user; it also serves what trading_signals_user_id_idx served
CREATE INDEX trading_signals_user_id_created_at_id_idx ON trading_signals (user_id, created_at, id);

-- signal_executions.list_stuck_pending: pending ones are few
CREATE INDEX signal_executions_pending_idx ON signal_executions (executed_at, id) WHERE status = 'PENDING';

-- The foreign key to agent_transactions: a deletion there would read every execution.
CREATE INDEX signal_executions_transaction_id_idx ON signal_executions (transaction_id);
