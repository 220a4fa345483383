-- The directory of cells: one row per user, the name of the schema that has the user's rows. Model: UserCell.
-- It stands in the schema that the service connects to; in a cell it is empty. Lock order: its rows alone, one at a time.

-- name: find_by_user_id :optional
-- The cell of the user.
SELECT
    user_id,
    cell,
    updated_at
FROM user_cells
WHERE user_id = :user_id;

-- name: create :one
-- Gives a user without a cell this one; for a user with a cell nothing changes, and the row says which. Two callers at
-- once get the same row.
INSERT INTO user_cells AS c (user_id, cell)
VALUES (:user_id, :cell)
ON CONFLICT (user_id) DO UPDATE SET cell = c.cell
RETURNING
    c.user_id,
    c.cell,
    c.updated_at;

-- name: update :optional
-- Sends the user to another cell. No row comes back when the user is not in the cell that the caller says: another
-- caller was first.
UPDATE user_cells
SET
    cell = :to_cell,
    updated_at = now()
WHERE user_id = :user_id AND cell = :from_cell
RETURNING
    user_id,
    cell,
    updated_at;

-- name: delete :rows
-- Removes the user, if the user is in this cell.
DELETE FROM user_cells WHERE user_id = :user_id AND cell = :cell;

-- name: list_by_cell :many
-- The cell's users after this one, by id.
SELECT
    user_id,
    cell,
    updated_at
FROM user_cells
WHERE cell = :cell AND user_id > :after
ORDER BY user_id
LIMIT :limit;

-- name: count_per_cell :many
-- How many users the directory sends to each cell, by name; a cell without users is left out.
SELECT
    cell,
    count(*) AS users
FROM user_cells
GROUP BY cell
ORDER BY cell
LIMIT :limit;
