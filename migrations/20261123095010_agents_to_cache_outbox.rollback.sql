DROP TRIGGER agents_truncated_to_cache_outbox ON agents;
DROP TRIGGER agents_to_cache_outbox ON agents;

DROP FUNCTION agents_to_cache_outbox();

ALTER TABLE agents DROP COLUMN version;
