-- The books of the migrations: which are applied, by yoyo's mark, and beside each the checksum of the text that was.
-- Model: AppliedMigration. The migrator writes both tables; a service reads them when it starts.

-- name: list_applied :many
-- Every migration that the database has. The checksum is NULL when nobody recorded the text, or when the mark is newer.
-- check: not null name: yoyo marks by name
SELECT
    y.migration_id AS name,
    n.checksum
FROM _yoyo_migration AS y
LEFT JOIN _nexgent_migration AS n
    ON n.migration_hash = y.migration_hash AND n.applied_at_utc IS NOT DISTINCT FROM y.applied_at_utc
ORDER BY y.migration_id, y.migration_hash
LIMIT :limit;
