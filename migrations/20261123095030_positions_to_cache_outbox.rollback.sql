DROP TRIGGER agent_positions_truncated_to_cache_outbox ON agent_positions;
DROP TRIGGER agent_positions_to_cache_outbox ON agent_positions;

DROP FUNCTION agent_positions_to_cache_outbox();

ALTER TABLE agent_positions DROP COLUMN version;
