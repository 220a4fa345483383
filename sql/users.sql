-- Users: one row for each account. Model: User.
-- Lock order: a user's row comes before its agents'.

-- name: find_by_id :optional
-- The user of this id.
SELECT
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until
FROM users
WHERE id = :user_id;

-- name: find_by_email :optional
-- The user of this e-mail address, whatever its case.
SELECT
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until
FROM users
WHERE lower(email) = lower(:email);

-- name: create :one
-- A new user. Refused by users_lower_email_key when the address is taken in any case.
INSERT INTO users (id, email, password_hash)
VALUES (coalesce(:user_id, gen_random_uuid()), :email, :password_hash)
RETURNING
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until;

-- name: update :optional
-- Changes what is given, leaves the rest. No row comes back when there is no such user. Refused by
-- users_lower_email_key when another user has the address in any case.
UPDATE users
SET
    failed_login_attempts = failed_login_attempts -- something, when nothing is given
    , email = :email -- if given
    , password_hash = :password_hash -- if given
WHERE id = :user_id
RETURNING
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until;

-- name: record_failed_login :optional
-- One failure more; the fifth locks the account for 15 minutes, and those that come while it is locked count without
-- prolonging that. A lock that has run out leaves nothing behind: the failure after it is the first of a new count.
-- No row comes back when there is no such user.
UPDATE users
SET
    failed_login_attempts = CASE
        WHEN locked_until <= statement_timestamp() THEN 1
        ELSE failed_login_attempts + 1
    END,
    locked_until = CASE
        WHEN locked_until <= statement_timestamp() THEN NULL
        WHEN failed_login_attempts + 1 >= 5 THEN coalesce(locked_until, statement_timestamp() + interval '15 minutes')
    END
WHERE id = :user_id
RETURNING
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until;

-- name: reset_failed_logins :rows
-- A log-in succeeded: nothing is counted and nothing locked. No row is written when that is so already.
UPDATE users
SET
    failed_login_attempts = 0,
    locked_until = NULL
WHERE id = :user_id AND (failed_login_attempts <> 0 OR locked_until IS NOT NULL);

-- name: is_locked :one
-- Whether too many failures lock the account at this moment; false when there is no such user.
SELECT exists(
    SELECT FROM users
    WHERE id = :user_id AND locked_until > statement_timestamp()
) AS is_locked;

-- name: delete :rows
-- The user goes, and with it its agents and everything of theirs; its signals stay, without a creator.
DELETE FROM users
WHERE id = :user_id;
