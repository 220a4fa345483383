-- Why: a serial integer ends at 2^31 - 1, and every signal takes one for ever. The table refuses a
-- strength outside of 1 to 100. A user's signals are read in the order of the new index, so that page 10,000 costs what
-- page 1 costs; it begins with the user, and serves every look-up of the one on the user alone.
-- Locks: ACCESS EXCLUSIVE on trading_signals while it is rewritten, and on agent_transactions, agent_historical_swaps and
-- signal_executions, whose keys refer to the column: PostgreSQL makes these keys again. They are NOT VALID and stay so, so
-- that no row of these tables is read.
-- Rollback loses: nothing but the check. It fails while an id is above 2^31 - 1.
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: an eighth
-- for each table.
LOCK TABLE agent_transactions, agent_historical_swaps, signal_executions, trading_signals IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '125ms';
-- A trade writes these before their keys are looked up in trading_signals.
LOCK TABLE agent_transactions, agent_historical_swaps, signal_executions IN ACCESS EXCLUSIVE MODE;

DROP INDEX trading_signals_user_id_idx;

ALTER TABLE trading_signals
    ALTER COLUMN id TYPE bigint,
    ADD CONSTRAINT trading_signals_signal_strength_check
    CHECK (signal_strength BETWEEN 1 AND 100);

ALTER SEQUENCE trading_signals_id_seq AS bigint;

-- signals.list_by_user, signals.stream_by_user.
CREATE INDEX trading_signals_user_id_created_at_id_idx ON trading_signals (user_id, created_at, id);
