CREATE INDEX CONCURRENTLY IF NOT EXISTS trading_signals_user_id_idx ON trading_signals (user_id);
