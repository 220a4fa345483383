-- Why: the unique index on agent and type begins with the agent, and serves every look-up that this one serves.
-- Locks: ACCESS EXCLUSIVE on agent_wallets for an instant; catalog only.
-- Rollback loses: nothing; it builds the index again, and nobody writes meanwhile.
-- squawk-ignore-file require-concurrent-index-deletion

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_wallets IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

DROP INDEX agent_wallets_agent_id_idx; -- agent_wallets_agent_id_wallet_type_key
