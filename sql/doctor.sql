-- The state of the server and of the schema, for `nexgent-db doctor`; and the pages of agents of `nexgent-db verify`. Models:
-- those of models/doctor.py. Only catalogs, statistics and settings are read, in read-only transactions. No query locks a row.

-- name: server :one
-- The version, the settings on which committed data depend, and the clock.
-- check: not null version: every server has the setting
-- check: not null fsync: every server has the setting
-- check: not null synchronous_commit: every server has the setting
-- check: not null full_page_writes: every server has the setting
SELECT
    current_setting('server_version') AS version,
    current_setting('fsync') AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('full_page_writes') AS full_page_writes,
    clock_timestamp() AS clock;

-- name: connections :one
-- How many sessions the server, the database and the role allow, -1 for any number, as for a superuser; and how many there are.
-- check: one: the database and the role of the session are there
-- check: not null allowed: the setting is a number
-- check: not null allowed_by_role: every role has one
-- check: not null used: the view has a row for each database
SELECT
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS allowed,
    CASE WHEN r.rolsuper THEN -1 ELSE d.datconnlimit END AS allowed_by_database,
    CASE WHEN r.rolsuper THEN -1 ELSE r.rolconnlimit END AS allowed_by_role,
    (SELECT sum(s.numbackends) FROM pg_stat_database AS s)::int AS used,
    (SELECT count(*) FROM pg_stat_activity AS a WHERE a.datid = d.oid)::int AS used_by_database,
    (SELECT count(*) FROM pg_stat_activity AS a WHERE a.usename = session_user)::int AS used_by_role
FROM pg_database AS d
CROSS JOIN pg_roles AS r
WHERE d.datname = current_database() AND r.rolname = session_user;

-- name: list_invalid_indexes :many
-- The indexes of the schema that no query uses, because CREATE INDEX CONCURRENTLY failed; not those that are being built.
-- check: order: an index has one name
SELECT
    i.indexrelid::regclass::text AS index,
    i.indrelid::regclass::text AS relation
FROM pg_index AS i
INNER JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
    AND NOT (i.indisvalid AND i.indisready)
    AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index AS p WHERE p.index_relid = i.indexrelid)
ORDER BY i.indexrelid::regclass::text
LIMIT :limit;

-- name: list_unvalidated_constraints :many
-- The constraints of the schema that PostgreSQL never compared with the rows that were there before.
-- check: order: a table has each constraint's name once
SELECT
    n.conname::text AS constraint_name,
    n.conrelid::regclass::text AS relation
FROM pg_constraint AS n
WHERE n.connamespace = quote_ident(current_schema())::regnamespace AND n.conrelid <> 0 AND NOT n.convalidated
ORDER BY n.conrelid::regclass::text, n.conname
LIMIT :limit;

-- name: list_long_transactions :many
-- The open transactions of this database that began longer ago than :age_s, oldest first; prepared ones too.
-- check: order: pids and global identifiers are unique
-- check: not null session: one of both has it
-- check: not null seconds: the row is chosen by it
SELECT
    'pid ' || a.pid || ', ' || coalesce(a.usename, '') || ', ' || coalesce(a.application_name, '') AS session,
    coalesce(a.state, '') AS state,
    extract(EPOCH FROM clock_timestamp() - a.xact_start)::double precision AS seconds
FROM pg_stat_activity AS a
WHERE a.datname = current_database()
    AND a.backend_type = 'client backend'
    AND a.pid <> pg_backend_pid()
    AND a.xact_start < clock_timestamp() - make_interval(secs => :age_s)
UNION ALL
SELECT
    'prepared transaction ' || p.gid AS session,
    'prepared' AS state,
    extract(EPOCH FROM clock_timestamp() - p.prepared)::double precision AS seconds
FROM pg_prepared_xacts AS p
WHERE p.database = current_database() AND p.prepared < clock_timestamp() - make_interval(secs => :age_s)
ORDER BY seconds DESC, session
LIMIT :limit;

-- name: count_hidden_sessions :one
-- The number of sessions of this database whose transactions the role may not see: it needs pg_read_all_stats.
SELECT count(*)::int AS sessions
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.query = '<insufficient privilege>';

-- name: list_bloated_tables :many
-- The tables of the schema with more dead rows than autovacuum leaves, largest number first.
-- check: order: a schema has each table's name once
-- check: not null relation: every table has a name
SELECT
    s.relname::text AS relation,
    s.n_live_tup AS live,
    s.n_dead_tup AS dead
FROM pg_stat_user_tables AS s
WHERE s.schemaname = current_schema() AND s.n_dead_tup > :least AND s.n_dead_tup > :share::double precision * s.n_live_tup
ORDER BY s.n_dead_tup DESC, s.relname
LIMIT :limit;

-- name: wraparound :one
-- How old the oldest transaction id and multixact id of any database are, and the ages at which autovacuum freezes.
-- check: not null age: there is a database
-- check: not null multixact_age: there is a database
-- check: not null freeze_max_age: every server has the setting
-- check: not null multixact_freeze_max_age: every server has the setting
SELECT
    max(age(d.datfrozenxid)) AS age,
    current_setting('autovacuum_freeze_max_age')::int AS freeze_max_age,
    max(mxid_age(d.datminmxid)) AS multixact_age,
    current_setting('autovacuum_multixact_freeze_max_age')::int AS multixact_freeze_max_age
FROM pg_database AS d;

-- name: roles :one
-- Who the session is, and which of the schema's tables row-level security does not protect.
-- check: one: the role of the session is there
-- check: not null exempt: every role has these attributes
SELECT
    r.rolname::text AS name,
    r.rolsuper OR r.rolbypassrls AS exempt,
    ARRAY(
        SELECT c.relname::text
        FROM pg_class AS c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
            AND c.relname = ANY(:tables)
            AND NOT (
                c.relrowsecurity
                AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND NOT p.polpermissive AND p.polcmd = '*')
            )
        ORDER BY c.relname
    ) AS unprotected,
    ARRAY(
        SELECT DISTINCT p.polname::text
        FROM pg_policy AS p
        INNER JOIN pg_class AS c ON c.oid = p.polrelid
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
            AND c.relname = ANY(:tables)
            AND p.polpermissive
            AND 0 = ANY(p.polroles)
        ORDER BY p.polname::text
    ) AS open_to_public,
    ARRAY(
        SELECT DISTINCT m.rolname::text
        FROM pg_policy AS p
        INNER JOIN pg_auth_members AS a ON a.roleid = ANY(p.polroles)
        INNER JOIN pg_roles AS m ON m.oid = a.member
        WHERE p.polrelid = to_regclass('agents')
            AND NOT p.polpermissive
            AND NOT m.rolsuper
            AND pg_has_role(m.oid, 'MEMBER')
        ORDER BY m.rolname::text
    ) AS services
FROM pg_roles AS r
WHERE r.rolname = current_user;

-- name: list_exempt_logins :many
-- Roles, other than superusers, that may log in here and that row-level security does not limit.
-- check: order: a role has one name
-- check: not null name: every role has one
SELECT r.rolname::text AS name
FROM pg_roles AS r
WHERE r.rolcanlogin
    AND r.rolbypassrls
    AND NOT r.rolsuper
    AND has_database_privilege(r.oid, current_database(), 'CONNECT')
ORDER BY r.rolname::text
LIMIT :limit;

-- name: network :one
-- How this session reaches the server, and how new passwords are stored.
-- check: not null password_encryption: every server has the setting
SELECT
    host(inet_client_addr()) AS client_address,
    coalesce((SELECT s.ssl FROM pg_stat_ssl AS s WHERE s.pid = pg_backend_pid()), false) AS encrypted,
    current_setting('password_encryption') AS password_encryption;

-- name: list_open_rules :many
-- The rules of pg_hba.conf that let other machines in with no password, or with one that can be read or used again on the net.
-- The role needs the right to read pg_hba_file_rules.
-- check: order: a file has each line once
-- check: not null line: a rule without an error has a line
SELECT
    h.line_number AS line,
    h.type || ' ' || coalesce(h.address, '') || ' ' || h.auth_method AS rule
FROM pg_hba_file_rules AS h
WHERE h.error IS NULL
    AND h.type IN ('host', 'hostssl', 'hostnossl', 'hostgssenc', 'hostnogssenc')
    AND (h.auth_method IN ('trust', 'md5') OR (h.auth_method = 'password' AND h.type <> 'hostssl'))
    AND coalesce(h.address, '') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost')
ORDER BY h.line_number, h.type
LIMIT :limit;

-- name: list_md5_passwords :many
-- The roles whose password is stored as MD5: a copy of it is enough to log in. The role needs to be a superuser.
-- check: order: a role has one name
SELECT a.rolname::text AS name
FROM pg_authid AS a
WHERE a.rolcanlogin AND a.rolpassword LIKE 'md5%'
ORDER BY a.rolname::text
LIMIT :limit;

-- name: find_agents_after :optional
-- The last of the :count agents after :after, by id, and how many they are: fewer at the end. No row after the last.
SELECT
    page.id AS last,
    (count(*) OVER ())::int AS agents
FROM (
    SELECT a.id
    FROM agents AS a
    WHERE a.id > :after
    ORDER BY a.id
    LIMIT :count
) AS page
ORDER BY page.id DESC
LIMIT 1;
