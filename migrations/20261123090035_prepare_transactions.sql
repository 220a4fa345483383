-- Why: history left ids and change times to its client; a row that a DBA inserts in psql needs them as well. Three other
-- indexes begin with the agent, and serve every look-up of the one on the agent alone. No query looks for transactions of all agents
-- by type or time.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Gain: without the three indexes, and the one that 20261123091330 drops, 38 % more rows are inserted a second (`python
-- -m tests.benchmarks.indexes --transactions 300000`).
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; catalog only.
-- Rollback loses: nothing but the defaults and the check. It builds the indexes again; writes to the table wait.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions
    ALTER COLUMN id SET DEFAULT new_id(),
    ALTER COLUMN updated_at SET DEFAULT CURRENT_TIMESTAMP,
    ADD CONSTRAINT agent_transactions_times_check CHECK (
        least(transaction_time, created_at, updated_at) >= '0001-01-02 00:00:00+00'
        AND greatest(transaction_time, created_at, updated_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX agent_transactions_agent_id_idx; -- agent_transactions_agent_id_transaction_time_idx
DROP INDEX agent_transactions_transaction_time_idx; -- queries give the agent as well
DROP INDEX agent_transactions_transaction_type_idx; -- the same
