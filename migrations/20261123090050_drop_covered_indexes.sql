-- Why: each of these is the beginning of another index of its table (or the same again), which serves every query that
-- it serves. They cost every trade their upkeep. Worse, on tables without statistics (a new database's) both kinds look
-- equally selective and the shorter is chosen: a trade then reads all holdings, positions and transactions of its wallet.
-- They go before the migrations that rewrite tables, which would build them again.
-- Locks: ACCESS EXCLUSIVE on the eight tables for an instant; catalog only.
-- Rollback loses: nothing; it builds the indexes again, under SHARE locks for as long as that takes.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE
    agent_positions, agent_balances, agent_balance_snapshots, agent_transactions, agent_historical_swaps,
    signal_executions
IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX api_keys_key_hash_idx; -- api_keys_key_hash_key
DROP INDEX agent_wallets_agent_id_idx; -- agent_wallets_agent_id_wallet_type_key
DROP INDEX agent_positions_agent_id_idx; -- agent_positions_agent_id_wallet_address_token_address_key
DROP INDEX agent_positions_agent_id_wallet_address_idx; -- the same
DROP INDEX agent_positions_purchase_transaction_id_idx; -- agent_positions_purchase_transaction_id_key
DROP INDEX agent_balances_agent_id_idx; -- agent_balances_agent_id_wallet_address_idx
DROP INDEX agent_balances_wallet_address_idx; -- agent_balances_wallet_address_token_address_key
DROP INDEX abs_agent_wallet_timestamp_idx; -- abs_agent_wallet_timestamp_key
DROP INDEX agent_transactions_agent_id_idx; -- agent_transactions_agent_id_wallet_address_idx
DROP INDEX agent_historical_swaps_agent_id_idx; -- agent_historical_swaps_agent_id_wallet_address_idx
DROP INDEX signal_executions_signal_id_idx; -- signal_executions_signal_id_agent_id_key
