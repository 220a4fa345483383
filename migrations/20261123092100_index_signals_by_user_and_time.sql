-- transactional: false
-- Why: a user's signals are read in the order of this index, so that page 10,000 costs what page 1 costs:
-- signals.list_by_user, signals.stream_by_user.
-- Locks: SHARE UPDATE EXCLUSIVE on trading_signals while the index is built; reads and writes go on.
-- Rollback loses: nothing but speed.

CREATE INDEX CONCURRENTLY IF NOT EXISTS trading_signals_user_id_created_at_id_idx
ON trading_signals (user_id, created_at, id);
