-- Why: history lets a balance name one agent and another agent's wallet. A key over both columns cannot.
-- Locks: ACCESS EXCLUSIVE on agent_wallets (small) while its unique index is built, then SHARE ROW EXCLUSIVE on the five
-- tables for an instant. NOT VALID: the existing rows
-- are read by the next migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the keys.
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE
    agent_positions, agent_balances, agent_balance_snapshots, agent_transactions,
    agent_historical_swaps
IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_wallets
    ADD CONSTRAINT agent_wallets_agent_id_wallet_address_key UNIQUE (agent_id, wallet_address);

ALTER TABLE agent_balances
    ADD CONSTRAINT agent_balances_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_balance_snapshots
    ADD CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_historical_swaps
    ADD CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;
