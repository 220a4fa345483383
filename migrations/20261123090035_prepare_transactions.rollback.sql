CREATE INDEX agent_transactions_transaction_type_idx ON agent_transactions (transaction_type);
CREATE INDEX agent_transactions_transaction_time_idx ON agent_transactions (transaction_time);
CREATE INDEX agent_transactions_agent_id_idx ON agent_transactions (agent_id);

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_times_check,
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN updated_at DROP DEFAULT;
