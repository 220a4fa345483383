-- Why: every change of a position leaves its row in the outbox. An insert gets its version from the trigger as well:
-- nobody can bring one of their own.
-- Locks: SHARE ROW EXCLUSIVE on agent_positions for an instant; catalog only. Reads go on.
-- Rollback loses: no row of the outbox, but what changes from then on leaves none. Empty the cache then: nexgent-db
-- cache reset.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

CREATE TRIGGER agent_positions_set_first_row_version
BEFORE INSERT ON agent_positions
FOR EACH ROW EXECUTE FUNCTION set_row_version();

CREATE TRIGGER agent_positions_to_cache_outbox
AFTER INSERT OR UPDATE OR DELETE ON agent_positions
FOR EACH ROW EXECUTE FUNCTION agent_positions_to_cache_outbox();

CREATE TRIGGER agent_positions_truncated_to_cache_outbox
AFTER TRUNCATE ON agent_positions
FOR EACH STATEMENT EXECUTE FUNCTION truncated_to_cache_outbox();
