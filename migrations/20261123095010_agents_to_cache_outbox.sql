-- Why: every change of an agent gives the row the next version and leaves a row in the outbox, also a change by a cascade
-- or by a DBA in psql. No writer can bring its own version.
-- Locks: ACCESS EXCLUSIVE on agents for an instant; catalog only: the rows that are there share version 1, which
-- nothing else ever gets.
-- Rollback loses: the versions. Empty the cache then: nexgent-db cache reset.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agents IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

-- The path of the function below.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

ALTER TABLE agents ADD COLUMN version bigint NOT NULL DEFAULT 1;

CREATE FUNCTION agents_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER -- the roles of services have no right to write to the outbox and its versions
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND NEW.id <> OLD.id
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
        VALUES (nextval('row_version_seq'), 'agent', true, OLD.id, OLD.id);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id)
    VALUES (NEW.version, 'agent', false, NEW.id, NEW.id);
    RETURN NEW;
END
$$;

CREATE TRIGGER agents_to_cache_outbox
BEFORE INSERT OR UPDATE OR DELETE ON agents
FOR EACH ROW
EXECUTE FUNCTION agents_to_cache_outbox();

CREATE TRIGGER agents_truncated_to_cache_outbox
AFTER TRUNCATE ON agents
FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

REVOKE EXECUTE ON FUNCTION agents_to_cache_outbox FROM public;
