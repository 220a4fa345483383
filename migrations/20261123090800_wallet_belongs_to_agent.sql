-- Why: history lets a balance name one agent and another agent's wallet. A key over both columns cannot.
-- It implies the old key on wallet_address alone, which goes: one check less on every insert.
-- Locks: SHARE ROW EXCLUSIVE on the five tables and agent_wallets for an instant. NOT VALID: the existing rows
-- are read by the next migration, under a lock that lets trades go on.
-- Rollback loses: nothing but the keys.
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint

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
