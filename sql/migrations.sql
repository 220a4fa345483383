-- The migrations' history tables: one row per applied migration, yoyo's mark with our checksum of the applied text.
-- Model: AppliedMigration. The migrator writes both tables; a service reads them when it starts. No query locks them.

-- name: list_applied :many
-- Every applied migration. The checksum is NULL when no text was recorded, or when yoyo's mark is newer than the text.
-- check: not null name: yoyo writes the name with every mark
SELECT
    y.migration_id AS name,
    n.checksum
FROM _yoyo_migration AS y
LEFT JOIN _nexgent_migration AS n
    ON n.migration_hash = y.migration_hash AND n.applied_at_utc IS NOT DISTINCT FROM y.applied_at_utc
ORDER BY y.migration_id, y.migration_hash
LIMIT :limit;
