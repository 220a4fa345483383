-- API keys: one row for each key of a user. Models: ApiKey, VerifiedApiKey.
-- Lock order: a key's row alone; nobody waits for one to record its use.

-- name: store :one
-- A new key, known by its hash. Refused by api_keys_user_id_fkey when there is no such user, and by
-- api_keys_expires_at_check when it would have expired already.
INSERT INTO api_keys (user_id, name, key_hash, key_prefix, scopes, expires_at)
VALUES (:user_id, :name, :key_hash, :key_prefix, :scopes, :expires_at)
RETURNING
    id,
    user_id,
    name,
    key_hash,
    key_prefix,
    scopes,
    created_at,
    expires_at,
    revoked_at,
    last_used_at;

-- name: verify_hash :optional
-- Whose key this is and what it may do; no row comes back when it is unknown, expired or revoked. Its use is recorded
-- once a minute at the most, by one caller: the others pass by and do not wait.
WITH
found AS (
    SELECT
        id,
        user_id,
        scopes
    FROM api_keys
    WHERE key_hash = :key_hash
        AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > statement_timestamp())
),
due AS (
    SELECT k.id
    FROM api_keys AS k
    INNER JOIN found ON found.id = k.id
    WHERE k.last_used_at IS NULL OR k.last_used_at < statement_timestamp() - interval '1 minute'
    FOR NO KEY UPDATE OF k SKIP LOCKED
),
used AS (
    UPDATE api_keys
    SET last_used_at = statement_timestamp()
    FROM due
    WHERE api_keys.id = due.id
)
SELECT
    id,
    user_id,
    coalesce(scopes, ARRAY[]::text[]) AS scopes
FROM found;

-- name: list_by_user :many
-- The user's keys, newest first, with those that have expired or were revoked.
SELECT
    id,
    user_id,
    name,
    key_hash,
    key_prefix,
    scopes,
    created_at,
    expires_at,
    revoked_at,
    last_used_at
FROM api_keys
WHERE user_id = :user_id
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: revoke :optional
-- The key opens nothing from now on. The first time stays when it is revoked again. No row comes back when the user has
-- no such key.
UPDATE api_keys
SET revoked_at = coalesce(revoked_at, statement_timestamp())
WHERE id = :key_id AND user_id = :user_id
RETURNING
    id,
    user_id,
    name,
    key_hash,
    key_prefix,
    scopes,
    created_at,
    expires_at,
    revoked_at,
    last_used_at;
