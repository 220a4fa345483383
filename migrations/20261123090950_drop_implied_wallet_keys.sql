-- Why: that an agent's wallet exists follows from the wallet being the agent's own. One check less on every insert.
-- Locks: ACCESS EXCLUSIVE on agent_wallets and the five tables for an instant; catalog only.
-- Rollback loses: nothing; it reads all rows to prove the keys again, and nobody writes meanwhile.
-- squawk-ignore-file ban-drop-constraint

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE
    agent_positions, agent_balances, agent_balance_snapshots, agent_transactions, agent_historical_swaps
IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_positions DROP CONSTRAINT agent_positions_wallet_address_fkey;

ALTER TABLE agent_balances DROP CONSTRAINT agent_balances_wallet_address_fkey;

ALTER TABLE agent_balance_snapshots DROP CONSTRAINT agent_balance_snapshots_wallet_address_fkey;

ALTER TABLE agent_transactions DROP CONSTRAINT agent_transactions_wallet_address_fkey;

ALTER TABLE agent_historical_swaps DROP CONSTRAINT agent_historical_swaps_wallet_address_fkey;
