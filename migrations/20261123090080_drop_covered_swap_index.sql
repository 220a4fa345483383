-- Why: six other indexes begin with the agent, and serve every look-up that this one serves. The next migrations would
-- build it again.
-- Gain: without it 2 % more rows are inserted a second (`python -m tests.benchmarks.indexes --transactions 300000`);
-- fourteen stay.
-- Locks: ACCESS EXCLUSIVE on agent_historical_swaps for an instant; catalog only.
-- Rollback loses: nothing; it builds the index again, and nobody writes meanwhile.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_historical_swaps IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX agent_historical_swaps_agent_id_idx; -- agent_historical_swaps_agent_id_wallet_address_idx
