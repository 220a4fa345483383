CREATE INDEX agent_wallets_agent_id_idx ON agent_wallets (agent_id);

ALTER TABLE agent_wallets
    DROP CONSTRAINT agent_wallets_times_check,
    DROP CONSTRAINT agent_wallets_wallet_type_check,
    ALTER COLUMN updated_at DROP DEFAULT;
