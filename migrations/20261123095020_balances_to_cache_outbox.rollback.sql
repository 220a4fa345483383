DROP TRIGGER agent_balances_truncated_to_cache_outbox ON agent_balances;
DROP TRIGGER agent_balances_to_cache_outbox ON agent_balances;

DROP FUNCTION agent_balances_to_cache_outbox();

ALTER TABLE agent_balances DROP COLUMN version;
