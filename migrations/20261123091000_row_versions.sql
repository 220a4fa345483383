-- Why: a cached row must be comparable with the stored one. Every row that is cached carries a version that rises
-- with each insert and update, whoever makes it: a repository, a cascade, a DBA in psql.
-- Locks: ACCESS EXCLUSIVE on agents, agent_balances and agent_positions while they are rewritten (all small).
-- Rollback loses: the versions; caches must be emptied.
-- squawk-ignore-file adding-field-with-default

CREATE SEQUENCE row_version_seq;

ALTER TABLE agents ADD COLUMN version bigint NOT NULL DEFAULT nextval('row_version_seq');

ALTER TABLE agent_balances ADD COLUMN version bigint NOT NULL DEFAULT nextval('row_version_seq');

ALTER TABLE agent_positions ADD COLUMN version bigint NOT NULL DEFAULT nextval('row_version_seq');

CREATE FUNCTION set_row_version() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    NEW.version := nextval('row_version_seq');
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION set_row_version() IS 'Gives an updated row the next version; inserts get theirs by default.';

CREATE TRIGGER agents_set_row_version
BEFORE UPDATE ON agents
FOR EACH ROW EXECUTE FUNCTION set_row_version();

CREATE TRIGGER agent_balances_set_row_version
BEFORE UPDATE ON agent_balances
FOR EACH ROW EXECUTE FUNCTION set_row_version();

CREATE TRIGGER agent_positions_set_row_version
BEFORE UPDATE ON agent_positions
FOR EACH ROW EXECUTE FUNCTION set_row_version();
