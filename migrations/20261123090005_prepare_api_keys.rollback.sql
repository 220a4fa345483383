LOCK TABLE api_keys IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF EXISTS (SELECT FROM api_keys WHERE expires_at IS NOT NULL OR revoked_at IS NOT NULL) THEN
        RAISE EXCEPTION 'some keys expire or are revoked: rolling back would let them in for ever'
            USING HINT = 'Delete these keys, then roll back again.';
    END IF;
END
$$;

CREATE INDEX api_keys_key_hash_idx ON api_keys (key_hash);

ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_times_check,
    DROP CONSTRAINT api_keys_expires_at_check,
    DROP COLUMN expires_at,
    DROP COLUMN revoked_at,
    DROP COLUMN last_used_at,
    ALTER COLUMN id DROP DEFAULT;
