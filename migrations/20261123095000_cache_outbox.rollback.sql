DROP FUNCTION truncated_to_cache_outbox();
DROP FUNCTION agent_positions_to_cache_outbox();
DROP FUNCTION agent_balances_to_cache_outbox();
DROP FUNCTION agents_to_cache_outbox();

COMMENT ON FUNCTION set_row_version() IS 'Gives an updated row the next version; inserts get theirs by default.';

COMMENT ON SEQUENCE row_version_seq IS NULL;

DROP TABLE cache_outbox;
