-- Why: each of these is the beginning of another index of the table, which serves every look-up that it serves. As for
-- positions: they cost upkeep, and a trade on a new database would read all balances of its wallet.
-- Gain: without the two 5 % more rows are inserted a second
-- (`python -m tests.benchmarks.indexes --transactions 300000`).
-- Locks: ACCESS EXCLUSIVE on agent_balances for an instant; catalog only.
-- Rollback loses: nothing; it builds the indexes again, and nobody writes meanwhile.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_balances IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX agent_balances_agent_id_idx; -- agent_balances_agent_id_wallet_address_idx
DROP INDEX agent_balances_wallet_address_idx; -- agent_balances_wallet_address_token_address_key
