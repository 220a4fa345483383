-- Why: every change of a balance gives the row the next version and leaves a row in the outbox, also a change by a
-- cascade or by a DBA in psql. A trade does both itself, with one row for all that it changed. No writer can bring its
-- own version.
-- Locks: ACCESS EXCLUSIVE on agent_balances for an instant; catalog only: the rows that are there share version 1, which
-- nothing else ever gets.
-- Rollback loses: the versions. Empty the cache then: nexgent-db cache reset.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

-- The path of the function below.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

ALTER TABLE agent_balances ADD COLUMN version bigint NOT NULL DEFAULT 1;

-- A balance that takes another key leaves the old one as if it had been deleted.
CREATE FUNCTION agent_balances_to_cache_outbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER -- the roles of services have no right to write to the outbox and its versions
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'DELETE' OR (
        TG_OP = 'UPDATE' AND (NEW.agent_id, NEW.wallet_address, NEW.token_address) <> (OLD.agent_id, OLD.wallet_address, OLD.token_address)
    ) THEN
        INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
        VALUES (nextval('row_version_seq'), 'balance', true, OLD.id, OLD.agent_id, OLD.wallet_address, OLD.token_address);
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    NEW.version := nextval('row_version_seq');
    INSERT INTO cache_outbox (version, entity, deleted, row_id, agent_id, wallet_address, token_address)
    VALUES (NEW.version, 'balance', false, NEW.id, NEW.agent_id, NEW.wallet_address, NEW.token_address);
    RETURN NEW;
END
$$;

CREATE TRIGGER agent_balances_to_cache_outbox
BEFORE INSERT OR UPDATE OR DELETE ON agent_balances
FOR EACH ROW
WHEN (current_setting('nexgent.trade', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION agent_balances_to_cache_outbox();

CREATE TRIGGER agent_balances_truncated_to_cache_outbox
AFTER TRUNCATE ON agent_balances
FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();

REVOKE EXECUTE ON FUNCTION agent_balances_to_cache_outbox FROM public;
