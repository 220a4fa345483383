-- Why: each of these is the beginning of another index of the table (or the same again), which serves every look-up
-- that it serves. They cost every purchase their upkeep. Worse, on a table without statistics (a new database's) both
-- kinds look equally selective and the shorter is chosen: a trade then reads all positions of its wallet.
-- Gain: without the three 9 % more rows are inserted a second
-- (`python -m tests.benchmarks.indexes --transactions 300000`).
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; catalog only.
-- Rollback loses: nothing; it builds the indexes again, and nobody writes meanwhile.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX agent_positions_agent_id_idx; -- agent_positions_agent_id_wallet_address_token_address_key
DROP INDEX agent_positions_agent_id_wallet_address_idx; -- the same
DROP INDEX agent_positions_purchase_transaction_id_idx; -- agent_positions_purchase_transaction_id_key
