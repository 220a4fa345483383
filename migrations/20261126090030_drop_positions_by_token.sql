-- transactional: false
-- Why: the index by token and agent begins with the token, and serves what this one served.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_positions; it waits for the transactions that use the index, reads and writes
-- go on.
-- Rollback loses: nothing; it builds the index again.

DROP INDEX CONCURRENTLY IF EXISTS agent_positions_token_address_idx;
