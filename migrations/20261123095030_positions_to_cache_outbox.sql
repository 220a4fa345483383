-- Why: every change of a position gives the row the next version and leaves a row in the outbox, also a change by a
-- cascade or by a DBA in psql. A trade does both itself, with one row for all that it changed. No writer can bring its
-- own version.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; catalog only: the rows that are there share version 1, which
-- nothing else ever gets.
-- Rollback loses: the versions. Empty the cache then: nexgent-db cache reset.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

-- The path of the function below.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

ALTER TABLE agent_positions ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- A position that takes another agent or token leaves the old one as if it had been deleted. It keeps its id then and is
-- still to be found: the relay sees that only its agent or token lost it.
CREATE FUNCTION agent_positions_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER -- the roles of services have no right to write to the outbox and its versions
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND (NEW.id, NEW.agent_id, NEW.token_address) <> (OLD.id, OLD.agent_id, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (nextval('row_version_seq'), 'position', true, OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
    VALUES (NEW.version, 'position', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    RETURN NEW;
END
$$;

CREATE TRIGGER agent_positions_to_cache_outbox
BEFORE INSERT OR UPDATE OR DELETE ON agent_positions
FOR EACH ROW
WHEN (current_setting('nexgent.trade', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION agent_positions_to_cache_outbox();

CREATE TRIGGER agent_positions_truncated_to_cache_outbox
AFTER TRUNCATE ON agent_positions
FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

REVOKE EXECUTE ON FUNCTION agent_positions_to_cache_outbox FROM public;
