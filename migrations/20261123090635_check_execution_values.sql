-- Why: what must never be stored is refused by the table, whoever writes.
-- Locks: ACCESS EXCLUSIVE on signal_executions for an instant. NOT VALID: new rows are held to the check at once, the
-- existing ones are read by a later migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the check.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE signal_executions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE signal_executions
    ADD CONSTRAINT signal_executions_status_check
    CHECK (status IN ('PENDING', 'EXECUTED', 'FAILED', 'SKIPPED')) NOT VALID;
