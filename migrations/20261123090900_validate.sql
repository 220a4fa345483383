-- Why: the checks and keys that were added NOT VALID hold for the rows that were there already, or this file says which
-- do not.
-- Locks: SHARE UPDATE EXCLUSIVE on each table while it is read, ROW SHARE on
-- agent_wallets and trading_signals; reads and writes go on.
-- Rollback loses: nothing; checks and keys stay, unproven for old rows.

ALTER TABLE agents
    VALIDATE CONSTRAINT agents_trading_mode_check,
    VALIDATE CONSTRAINT agents_times_check;

ALTER TABLE agent_wallets
    VALIDATE CONSTRAINT agent_wallets_wallet_type_check,
    VALIDATE CONSTRAINT agent_wallets_times_check;

ALTER TABLE agent_balances
    VALIDATE CONSTRAINT agent_balances_agent_id_wallet_address_fkey,
    VALIDATE CONSTRAINT agent_balances_times_check;

ALTER TABLE agent_balance_snapshots
    VALIDATE CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey,
    VALIDATE CONSTRAINT agent_balance_snapshots_times_check;

ALTER TABLE agent_positions
    VALIDATE CONSTRAINT agent_positions_agent_id_wallet_address_fkey,
    VALIDATE CONSTRAINT agent_positions_times_check;

ALTER TABLE agent_transactions
    VALIDATE CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    VALIDATE CONSTRAINT agent_transactions_signal_id_fkey,
    VALIDATE CONSTRAINT agent_transactions_times_check;

ALTER TABLE agent_historical_swaps
    VALIDATE CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    VALIDATE CONSTRAINT agent_historical_swaps_signal_id_fkey,
    VALIDATE CONSTRAINT agent_historical_swaps_times_check;

ALTER TABLE signal_executions
    VALIDATE CONSTRAINT signal_executions_signal_id_fkey,
    VALIDATE CONSTRAINT signal_executions_times_check;

ALTER TABLE users VALIDATE CONSTRAINT users_times_check;

ALTER TABLE api_keys VALIDATE CONSTRAINT api_keys_times_check;

ALTER TABLE trading_signals VALIDATE CONSTRAINT trading_signals_times_check;
