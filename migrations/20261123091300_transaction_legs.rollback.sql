ALTER TABLE agent_transactions DROP COLUMN transaction_leg;
