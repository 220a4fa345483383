DROP INDEX agent_balances_token_address_wallet_address_idx;

ALTER TABLE agent_balances
    DROP CONSTRAINT agent_balances_balance_check,
    ALTER COLUMN balance TYPE text USING balance::text;

CREATE INDEX agent_balances_token_address_idx ON agent_balances (token_address);
