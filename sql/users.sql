-- Users: one row per account. Model: User.
-- Lock order: a user's row before the rows of its agents.

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
-- The user of this e-mail address; upper and lower case of the letters A to Z are the same, and so are the two ways to
-- write a letter with an accent.
SELECT
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until
FROM users
WHERE lower(normalize(email) COLLATE "C") = lower(normalize(:email) COLLATE "C");

-- name: find_first :optional
-- The earliest user. No row comes back while there is none.
SELECT
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until
FROM users
ORDER BY created_at, id
LIMIT 1;

-- name: list :many
-- All users, the earliest first; the page after the cursor when one is given.
SELECT
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until
FROM users
WHERE true
    AND (created_at, id) > (:after_time, :after_id) -- if given
ORDER BY created_at, id
LIMIT :limit;

-- name: create :one
-- Creates a user. Violates users_lower_email_key when another user has the address, in upper or lower case.
INSERT INTO users (id, email, password_hash)
VALUES (coalesce(:user_id, new_id()), :email, :password_hash)
RETURNING
    id,
    email,
    password_hash,
    created_at,
    failed_login_attempts,
    locked_until;

-- name: update :optional
-- Updates the columns whose parameters are given. No row comes back when there is no such user. Violates
-- users_lower_email_key when another user has the address, in upper or lower case.
UPDATE users
SET
    failed_login_attempts = failed_login_attempts -- SET needs a column when no parameter is given
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

-- name: begin_login :optional
-- Counts an attempt to log in, before its password is compared, and returns the user when it may be made. The fifth since
-- the last success may still be made and locks the account for 15 minutes: however many begin at once, five get the user.
-- The lock's end starts a new count at 1. No row comes back when the account is locked, or when there is no such user.
UPDATE users AS u
SET
    failed_login_attempts = CASE
        WHEN u.locked_until IS NULL THEN u.failed_login_attempts + 1
        ELSE 1
    END,
    locked_until = CASE
        WHEN u.locked_until IS NULL AND u.failed_login_attempts >= 4 THEN clock.in_15_minutes
    END
FROM (
    SELECT
        statement_timestamp() AS at,
        statement_timestamp() + interval '15 minutes' AS in_15_minutes
) AS clock
WHERE u.id = :user_id AND (u.locked_until IS NULL OR u.locked_until <= clock.at)
RETURNING
    u.id,
    u.email,
    u.password_hash,
    u.created_at,
    u.failed_login_attempts,
    u.locked_until;

-- name: record_failed_login :optional
-- Counts a failed log-in. The fifth locks the account for 15 minutes; further failures count but do not prolong the
-- lock. After the lock has expired, the next failure starts a new count at 1. No row comes back when there is no such
-- user.
UPDATE users AS u
SET
    failed_login_attempts = CASE
        WHEN u.locked_until <= clock.at THEN 1
        ELSE u.failed_login_attempts + 1
    END,
    locked_until = CASE
        WHEN u.locked_until <= clock.at THEN NULL
        WHEN u.failed_login_attempts + 1 >= 5 THEN coalesce(u.locked_until, clock.in_15_minutes)
    END
FROM (
    SELECT
        statement_timestamp() AS at,
        statement_timestamp() + interval '15 minutes' AS in_15_minutes
) AS clock
WHERE u.id = :user_id
RETURNING
    u.id,
    u.email,
    u.password_hash,
    u.created_at,
    u.failed_login_attempts,
    u.locked_until;

-- name: reset_failed_logins :rows
-- Clears the count of failed log-ins and the lock, after a successful log-in. Writes no row when both are clear.
UPDATE users
SET
    failed_login_attempts = 0,
    locked_until = NULL
WHERE id = :user_id AND (failed_login_attempts <> 0 OR locked_until IS NOT NULL);

-- name: is_locked :one
-- Whether the account is locked now; false when there is no such user.
SELECT exists(
    SELECT FROM users
    WHERE id = :user_id AND locked_until > statement_timestamp()
) AS is_locked;

-- name: delete :rows
-- Deletes the user with its API keys and its agents with all their rows. Its signals stay; their user_id becomes NULL.
DELETE FROM users
WHERE id = :user_id;
