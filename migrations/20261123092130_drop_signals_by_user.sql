-- transactional: false
-- Why: the index by user and time begins with the user, and serves what this one served.
-- Gain: without it 6 % more rows are inserted a second (`python -m tests.benchmarks.indexes --transactions 300000`).
-- Locks: SHARE UPDATE EXCLUSIVE on trading_signals; it waits for the transactions that use the index, reads and writes
-- go on.
-- Rollback loses: nothing; it builds the index again.

DROP INDEX CONCURRENTLY IF EXISTS trading_signals_user_id_idx;
