DROP TRIGGER agent_positions_set_row_version ON agent_positions;

ALTER TABLE agent_positions DROP COLUMN version;
