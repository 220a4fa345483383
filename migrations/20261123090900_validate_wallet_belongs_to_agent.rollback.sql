-- PostgreSQL cannot un-validate a key: each is dropped and added as the migration before left it.

ALTER TABLE agent_balances
    DROP CONSTRAINT agent_balances_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balances_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_balance_snapshots
    DROP CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_balance_snapshots_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_positions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_transactions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;
