-- Why: a key must be able to end, at its time or at once, and its owner wants to see whether it is still in use. History
-- left ids to its client; a row that a DBA inserts in psql needs one as well. The unique index on key_hash serves every
-- look-up of the plain one.
-- The table refuses times that Python's calendar does not have, such as infinity: nobody could read them.
-- Locks: ACCESS EXCLUSIVE on api_keys for an instant, while the new check reads it; the table is small.
-- Rollback loses: when keys expire and which are revoked: it refuses to run while such keys exist, because they would all
-- open doors again. It loses when keys were last used.
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-deletion

-- Statements on api_keys wait half a second at most.
SET LOCAL lock_timeout = '500ms';

ALTER TABLE api_keys
    ALTER COLUMN id SET DEFAULT new_id(),
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN revoked_at timestamptz,
    ADD COLUMN last_used_at timestamptz,
    ADD CONSTRAINT api_keys_expires_at_check CHECK (expires_at > created_at),
    ADD CONSTRAINT api_keys_times_check CHECK (
        least(created_at, expires_at, revoked_at, last_used_at) >= '0001-01-02 00:00:00+00'
        AND greatest(created_at, expires_at, revoked_at, last_used_at) < '9999-01-01 00:00:00+00'
    ) NOT VALID;

DROP INDEX api_keys_key_hash_idx; -- api_keys_key_hash_key
