-- Users may call the API with keys.
--
-- Why: programs should not log in with a person's password. Only a key's hash is stored.
-- Locks: SHARE ROW EXCLUSIVE on users for an instant (the new key refers to it): writers wait, readers do not.
-- Rollback loses: all API keys; their holders need new ones.

-- One row: a key of one user, with what it may do.
CREATE TABLE api_keys (
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    name varchar(100) NOT NULL,
    key_hash varchar(255) NOT NULL,
    key_prefix varchar(12) NOT NULL,
    scopes text[] DEFAULT ARRAY[]::text[],
    created_at timestamptz (6) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id)
    REFERENCES users (id) ON DELETE CASCADE ON UPDATE CASCADE
);

-- Each request: the key by its hash.
CREATE UNIQUE INDEX api_keys_key_hash_key ON api_keys (key_hash);
-- A user's keys.
CREATE INDEX api_keys_user_id_idx ON api_keys (user_id);
-- The same look-up as the unique index above; the public system has both.
CREATE INDEX api_keys_key_hash_idx ON api_keys (key_hash);
