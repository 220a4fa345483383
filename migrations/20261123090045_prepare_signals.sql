-- Why: history left change times to its client; a row that a DBA inserts in psql needs them as well. No query looks for the
-- signals of all users by type or time.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Gain: without the two indexes, and the one that 20261123090540 drops, 36 % more rows are inserted a second (`python
-- -m tests.benchmarks.indexes --transactions 300000`).
-- Locks: ACCESS EXCLUSIVE on trading_signals for an instant; catalog only.
-- Rollback loses: nothing but the default and the check. It builds the indexes again; writes to the table wait.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE trading_signals IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE trading_signals
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP,
    ADD CONSTRAINT trading_signals_times_check CHECK (
        least(created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX trading_signals_created_at_idx; -- queries give the user as well
DROP INDEX trading_signals_signal_type_idx; -- the same
