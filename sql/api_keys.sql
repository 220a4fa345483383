-- API keys: one row per key of a user. Models: ApiKey, VerifiedApiKey.
-- Lock order: one key's row and no other. verify_hash and verify_hash_with_email never wait for a lock.

-- name: store :one
-- Stores a new key by its hash. Violates api_keys_user_id_fkey when there is no such user, and
-- api_keys_expires_at_check when expires_at has passed.
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

-- name: find_by_id :optional
-- The key of this id, expired and revoked ones included.
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
WHERE id = :key_id;

-- name: verify_hash :optional
-- The key's owner and scopes. No row comes back when the key is unknown, expired or revoked. last_used_at is updated at
-- most once a minute; while one caller updates it, other callers skip the update and do not wait.
WITH
valid_key AS (
    SELECT
        id,
        user_id,
        scopes
    FROM api_keys
    WHERE key_hash = :key_hash
        AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > statement_timestamp())
),
outdated_use AS (
    SELECT k.id
    FROM api_keys AS k
    INNER JOIN valid_key ON valid_key.id = k.id
    WHERE k.last_used_at IS NULL OR k.last_used_at < statement_timestamp() - interval '1 minute'
    FOR NO KEY UPDATE OF k SKIP LOCKED
),
updated_use AS (
    UPDATE api_keys
    SET last_used_at = statement_timestamp()
    FROM outdated_use
    WHERE api_keys.id = outdated_use.id
)
SELECT
    id,
    user_id,
    coalesce(scopes, ARRAY[]::text[]) AS scopes
FROM valid_key;

-- name: verify_hash_with_email :optional
-- The same as verify_hash, with the owner's e-mail address.
WITH
valid_key AS (
    SELECT
        id,
        user_id,
        scopes
    FROM api_keys
    WHERE key_hash = :key_hash
        AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > statement_timestamp())
),
outdated_use AS (
    SELECT k.id
    FROM api_keys AS k
    INNER JOIN valid_key ON valid_key.id = k.id
    WHERE k.last_used_at IS NULL OR k.last_used_at < statement_timestamp() - interval '1 minute'
    FOR NO KEY UPDATE OF k SKIP LOCKED
),
updated_use AS (
    UPDATE api_keys
    SET last_used_at = statement_timestamp()
    FROM outdated_use
    WHERE api_keys.id = outdated_use.id
)
SELECT
    valid_key.id,
    valid_key.user_id,
    coalesce(valid_key.scopes, ARRAY[]::text[]) AS scopes,
    users.email
FROM valid_key
INNER JOIN users ON users.id = valid_key.user_id;

-- name: list_by_user :many
-- The user's keys, newest first, including expired and revoked ones; the page after the cursor when one is given.
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
    AND (created_at, id) < (:before_time, :before_id) -- if given
ORDER BY created_at DESC, id DESC
LIMIT :limit;

-- name: revoke :optional
-- Revokes the key at once. Revoking it again keeps the first time. No row comes back when the user has no such key.
UPDATE api_keys AS k
SET revoked_at = coalesce(k.revoked_at, clock.at)
FROM (SELECT statement_timestamp() AS at) AS clock
WHERE k.id = :key_id AND k.user_id = :user_id
RETURNING
    k.id,
    k.user_id,
    k.name,
    k.key_hash,
    k.key_prefix,
    k.scopes,
    k.created_at,
    k.expires_at,
    k.revoked_at,
    k.last_used_at;
