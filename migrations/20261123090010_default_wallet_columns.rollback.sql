ALTER TABLE agent_wallets ALTER COLUMN updated_at DROP DEFAULT;
