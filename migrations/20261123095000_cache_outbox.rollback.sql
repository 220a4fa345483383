DROP TRIGGER agent_positions_truncated_to_cache_outbox ON agent_positions;
DROP TRIGGER agent_balances_truncated_to_cache_outbox ON agent_balances;
DROP TRIGGER agents_truncated_to_cache_outbox ON agents;
DROP TRIGGER agent_positions_to_cache_outbox ON agent_positions;
DROP TRIGGER agent_balances_to_cache_outbox ON agent_balances;
DROP TRIGGER agents_to_cache_outbox ON agents;

DROP FUNCTION truncated_to_cache_outbox();
DROP FUNCTION agent_positions_to_cache_outbox();
DROP FUNCTION agent_balances_to_cache_outbox();
DROP FUNCTION agents_to_cache_outbox();

DROP TRIGGER agent_positions_set_first_row_version ON agent_positions;
DROP TRIGGER agent_balances_set_first_row_version ON agent_balances;
DROP TRIGGER agents_set_first_row_version ON agents;

COMMENT ON FUNCTION set_row_version() IS 'Gives an updated row the next version; inserts get theirs by default.';

COMMENT ON SEQUENCE row_version_seq IS NULL;

DROP TABLE cache_outbox;
