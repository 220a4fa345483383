-- Why: each of these is the beginning of another index of its table, which serves every query that it serves. They cost
-- every trade their upkeep. Worse, on tables without statistics (a new database's) both kinds look equally selective and
-- the shorter is chosen: a trade then reads all holdings, positions and transactions of its wallet.
-- Locks: ACCESS EXCLUSIVE on the six tables, for an instant once it is granted.
-- Rollback loses: nothing; it builds the indexes again, under SHARE locks for as long as that takes.
-- squawk-ignore-file require-concurrent-index-deletion

DROP INDEX abs_agent_wallet_timestamp_idx;
DROP INDEX agent_balances_agent_id_idx;
DROP INDEX agent_balances_wallet_address_idx;
DROP INDEX agent_historical_swaps_agent_id_idx;
DROP INDEX agent_positions_agent_id_idx;
DROP INDEX agent_positions_agent_id_wallet_address_idx;
DROP INDEX agent_positions_purchase_transaction_id_idx;
DROP INDEX agent_transactions_agent_id_idx;
DROP INDEX agent_transactions_wallet_address_idx;
DROP INDEX agent_wallets_agent_id_idx;
