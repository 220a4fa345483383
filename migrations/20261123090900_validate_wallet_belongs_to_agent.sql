-- Why: the keys of the migration before hold for old rows as well.
-- Locks: SHARE UPDATE EXCLUSIVE on each table while it is read, ROW SHARE on agent_wallets; reads and writes go on.
-- Rollback loses: nothing; the keys stay, unproven for old rows.

ALTER TABLE agent_balances VALIDATE CONSTRAINT agent_balances_agent_id_wallet_address_fkey;

ALTER TABLE agent_balance_snapshots VALIDATE CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey;

ALTER TABLE agent_positions VALIDATE CONSTRAINT agent_positions_agent_id_wallet_address_fkey;

ALTER TABLE agent_transactions VALIDATE CONSTRAINT agent_transactions_agent_id_wallet_address_fkey;

ALTER TABLE agent_historical_swaps VALIDATE CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey;
