CREATE INDEX agent_balances_wallet_address_idx ON agent_balances (wallet_address);
CREATE INDEX agent_balances_agent_id_idx ON agent_balances (agent_id);

ALTER TABLE agent_balances
    DROP CONSTRAINT agent_balances_times_check,
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN last_updated DROP DEFAULT;
