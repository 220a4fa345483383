DROP TRIGGER agent_balances_set_row_version ON agent_balances;

ALTER TABLE agent_balances DROP COLUMN version;
