ALTER TABLE agent_balances ALTER COLUMN balance TYPE text USING balance::text;
