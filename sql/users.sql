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

-- name: delete :rows
-- The user goes, and with it its agents and everything of theirs; its signals stay, without a creator.
DELETE FROM users
WHERE id = :user_id;
