-- PostgreSQL cannot un-validate a constraint: each is dropped and added as the migration before left it.

ALTER TABLE agents
    DROP CONSTRAINT agents_trading_mode_check,
    ADD CONSTRAINT agents_trading_mode_check
    CHECK (trading_mode IN ('simulation', 'live')) NOT VALID;

ALTER TABLE agent_wallets
    DROP CONSTRAINT agent_wallets_wallet_type_check,
    ADD CONSTRAINT agent_wallets_wallet_type_check
    CHECK (wallet_type IN ('simulation', 'live')) NOT VALID;

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
    DROP CONSTRAINT agent_transactions_signal_id_fkey,
    DROP CONSTRAINT agent_transactions_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_transactions_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT agent_transactions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID;

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_signal_id_fkey,
    DROP CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey,
    ADD CONSTRAINT agent_historical_swaps_agent_id_wallet_address_fkey
    FOREIGN KEY (agent_id, wallet_address) REFERENCES agent_wallets (agent_id, wallet_address)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID,
    ADD CONSTRAINT agent_historical_swaps_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID;

ALTER TABLE signal_executions
    DROP CONSTRAINT signal_executions_signal_id_fkey,
    ADD CONSTRAINT signal_executions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE CASCADE NOT VALID;
