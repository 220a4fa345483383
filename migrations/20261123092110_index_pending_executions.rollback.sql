DROP INDEX CONCURRENTLY IF EXISTS signal_executions_pending_idx;
