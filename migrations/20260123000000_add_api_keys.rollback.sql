-- No API keys.
--
-- Why: undoes 20260123000000_add_api_keys.
-- Locks: ACCESS EXCLUSIVE on api_keys, and on users for an instant (its key's triggers go).
-- Loses: all API keys. Only hashes were stored, so the keys cannot be restored: holders need new ones.

DROP TABLE api_keys;
