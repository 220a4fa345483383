-- transactional: false
-- Why: the index of the key that the next migration makes.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_wallets while the index is built; reads and writes go on.
-- Rollback loses: nothing but the index.

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS agent_wallets_agent_id_wallet_address_key
ON agent_wallets (agent_id, wallet_address);
