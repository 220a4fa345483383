DROP TRIGGER agents_truncated_to_cache_outbox ON agents;
DROP TRIGGER agents_to_cache_outbox ON agents;
DROP TRIGGER agents_set_first_row_version ON agents;
