-- Why: the keys of the migration before hold for old rows as well; then the keys that they imply can go.
-- Locks: SHARE UPDATE EXCLUSIVE on each table while it is read; ACCESS EXCLUSIVE for an instant to drop a key.
-- Rollback loses: nothing.
-- squawk-ignore-file ban-drop-constraint

ALTER TABLE agent_balances
    VALIDATE CONSTRAINT agent_balances_agent_id_wallet_address_fkey,
    DROP CONSTRAINT agent_balances_wallet_address_fkey;

ALTER TABLE agent_balance_snapshots
    VALIDATE CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey,
    DROP CONSTRAINT agent_balance_snapshots_wallet_address_fkey;

ALTER TABLE agent_positions
    VALIDATE CONSTRAINT agent_positions_agent_id_wallet_address_fkey,
    DROP CONSTRAINT agent_positions_wallet_address_fkey;

ALTER TABLE agent_transactions
    VALIDATE CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    DROP CONSTRAINT agent_transactions_wallet_address_fkey;

ALTER TABLE agent_historical_swaps
    VALIDATE CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    DROP CONSTRAINT agent_historical_swaps_wallet_address_fkey;
