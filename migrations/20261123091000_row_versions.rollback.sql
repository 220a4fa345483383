DROP TRIGGER agent_positions_set_row_version ON agent_positions;

DROP TRIGGER agent_balances_set_row_version ON agent_balances;

DROP TRIGGER agents_set_row_version ON agents;

DROP FUNCTION set_row_version();

ALTER TABLE agent_positions DROP COLUMN version;

ALTER TABLE agent_balances DROP COLUMN version;

ALTER TABLE agents DROP COLUMN version;

DROP SEQUENCE row_version_seq;
