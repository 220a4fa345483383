ALTER TABLE agent_transactions DROP COLUMN realized_profit_sol;
