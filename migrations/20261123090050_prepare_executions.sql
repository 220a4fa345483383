-- Why: history left ids to its client; a row that a DBA inserts in psql needs one as well. The unique index on signal and
-- agent begins with the signal, and serves every look-up of the one on the signal alone.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Gain: without the index 9 % more rows are inserted a second (`python -m tests.benchmarks.indexes --transactions
-- 300000`).
-- Locks: ACCESS EXCLUSIVE on signal_executions for an instant; catalog only.
-- Rollback loses: nothing but the default and the check. It builds the index again; writes to the table wait.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE signal_executions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE signal_executions
    ALTER COLUMN id SET DEFAULT new_id(),
    ADD CONSTRAINT signal_executions_times_check CHECK (
        executed_at >= '0001-01-02 00:00:00+00'
        AND executed_at < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX signal_executions_signal_id_idx; -- signal_executions_signal_id_agent_id_key
