-- transactional: false
-- Why: a profit over any time is a sum over the sales of an agent: they are few among its transactions, and the sum needs no
-- other row (performance.summarise).
-- Locks: SHARE UPDATE EXCLUSIVE on agent_transactions while the index is built; reads and writes go on. It waits for the
-- transactions that are open when it begins.
-- Rollback loses: nothing but the index.

CREATE INDEX CONCURRENTLY IF NOT EXISTS agent_transactions_realized_profit_idx
ON agent_transactions (agent_id, transaction_time) INCLUDE (wallet_address, realized_profit_sol)
WHERE realized_profit_sol IS NOT NULL;
