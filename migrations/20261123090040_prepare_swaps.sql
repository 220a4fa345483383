-- Why: history left ids to its client; a row that a DBA inserts in psql needs one as well. Other indexes begin with the
-- agent, and serve every look-up of the one on the agent alone. No query looks for swaps of all agents by wallet,
-- token or time: each gives the agent, and has an index that goes on with that column. None goes by when a swap was stored.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Gain: without the six indexes 57 % more rows are inserted a second (`python -m tests.benchmarks.indexes
-- --transactions 300000`).
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps for an instant; catalog only.
-- Rollback loses: nothing but the default and the check. It builds the indexes again; writes to the table wait.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_historical_swaps
    ALTER COLUMN id SET DEFAULT new_id(),
    ADD CONSTRAINT agent_historical_swaps_times_check CHECK (
        least(purchase_time, sale_time, created_at) >= '0001-01-02 00:00:00+00'
        AND greatest(purchase_time, sale_time, created_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX agent_historical_swaps_agent_id_idx; -- agent_historical_swaps_agent_id_sale_time_idx
DROP INDEX agent_historical_swaps_agent_id_created_at_idx;
DROP INDEX agent_historical_swaps_purchase_time_idx; -- agent_historical_swaps_agent_id_purchase_time_idx
DROP INDEX agent_historical_swaps_sale_time_idx; -- agent_historical_swaps_agent_id_sale_time_idx
DROP INDEX agent_historical_swaps_token_address_idx; -- agent_historical_swaps_agent_id_token_address_idx
DROP INDEX agent_historical_swaps_wallet_address_idx; -- agent_historical_swaps_agent_id_wallet_address_idx
