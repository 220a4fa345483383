-- Why: the unique index on the same column serves every look-up that this one serves.
-- Locks: ACCESS EXCLUSIVE on api_keys for an instant; catalog only.
-- Rollback loses: nothing; it builds the index again, and nobody writes meanwhile.
-- squawk-ignore-file require-concurrent-index-deletion

-- Who uses the table waits half a second at the most.
SET LOCAL lock_timeout = '500ms';

DROP INDEX api_keys_key_hash_idx; -- api_keys_key_hash_key
