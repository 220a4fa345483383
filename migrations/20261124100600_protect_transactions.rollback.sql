DROP TRIGGER agent_transactions_append_only_whole ON agent_transactions;
DROP TRIGGER agent_transactions_append_only ON agent_transactions;

DROP FUNCTION purge_agent_batch_v1;
DROP FUNCTION purge_agent_v1;
DROP FUNCTION protect_whole_ledger;
DROP FUNCTION protect_ledger;

DROP TABLE ledger_purges;
