-- transactional: false
-- Why: the index of the rule that the next migration makes; it also finds a wallet's transactions.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_transactions while the index is built; reads and writes go on. It waits for the
-- transactions that are open when it begins.
-- Rollback loses: nothing but the index.
--
-- A hash that a service of the release before has recorded twice since the legs were numbered leaves the index INVALID,
-- and the migration unmarked. Then: DROP INDEX CONCURRENTLY it, `nexgent-db rollback` (the numbering; it undoes nothing),
-- `nexgent-db migrate`.

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS agent_transactions_wallet_address_transaction_hash_key
ON agent_transactions (wallet_address, transaction_hash, transaction_leg);
