-- Why: ids of signals become bigint, as for transactions. The table refuses a status that does not
-- exist. The key to agent_transactions has an index: without, a deletion there would read every execution.
-- signal_executions.list_stuck_pending reads the pending ones, which are few, in the order of an index of their own.
-- Locks: ACCESS EXCLUSIVE on signal_executions while it is rewritten, and on trading_signals, to which the key refers.
-- Rollback loses: nothing but the check and the indexes. It fails while an id is above 2^31 - 1.
-- squawk-ignore-file ban-drop-constraint
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid, require-concurrent-index-creation

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE trading_signals, signal_executions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';

ALTER TABLE signal_executions
    DROP CONSTRAINT signal_executions_signal_id_fkey,
    ALTER COLUMN signal_id TYPE bigint,
    ADD CONSTRAINT signal_executions_status_check
    CHECK (status IN ('PENDING', 'EXECUTED', 'FAILED', 'SKIPPED')),
    ADD CONSTRAINT signal_executions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

-- The foreign key to agent_transactions.
CREATE INDEX signal_executions_transaction_id_idx ON signal_executions (transaction_id);

-- signal_executions.list_stuck_pending.
CREATE INDEX signal_executions_pending_idx ON signal_executions (executed_at, id) WHERE status = 'PENDING';
