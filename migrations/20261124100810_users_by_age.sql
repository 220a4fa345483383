-- transactional: false
-- Why: users are listed from the earliest on, page by page, and seeding looks for the first.
-- Locks: SHARE UPDATE EXCLUSIVE on users while the index is built; reads and writes go on.
-- Rollback loses: nothing but the index.

-- users.list, users.find_first.
CREATE INDEX CONCURRENTLY IF NOT EXISTS users_created_at_id_idx ON users (created_at, id);
