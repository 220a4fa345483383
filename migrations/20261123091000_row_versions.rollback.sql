DROP TRIGGER agents_set_row_version ON agents;

ALTER TABLE agents DROP COLUMN version;

DROP FUNCTION set_row_version();

DROP SEQUENCE row_version_seq;
