-- Who may do what: roles, grants, row-level security. Optional, and no part of the migrations: `nexgent-db roles apply`
-- runs this file, `nexgent-db roles apply --check` says what it would change. With psql: `psql -1 -f sql/roles.sql`.
--
--   nexgent_owner     owns the tables; nobody logs in as it
--   nexgent_migrator  logs in to migrate, and is the owner then
--   nexgent_app       what every query of this package needs, for all users: no DDL, no change of the ledger
--   nexgent_tenant    the same for one user at a time: the one of the setting nexgent.user_id; nobody when it is not set
--   nexgent_worker    trading and the cache's upkeep: users' accounts and API keys are not its business
--   nexgent_readonly  reads everything but the hashes of passwords and API keys
--
-- They are made without a password: \password nexgent_app. Another prefix is put in the place of "nexgent" by --prefix.
--
-- Run by a superuser, or by the owner of the database and of the tables who may CREATE ROLE; once the roles exist, by
-- the migrator as well: after each migrate. What is right already is left alone, so a second run changes nothing.
-- Locks: the first time ACCESS EXCLUSIVE on one table after the other, all held to the end: milliseconds, but up to two
-- seconds of waiting for each, in which trades wait too. So in a quiet hour; it gives up whole. Later ones take none.

SET LOCAL lock_timeout = '2s';
SELECT pg_advisory_xact_lock(hashtextextended('nexgent-db roles', 0));

-- Roles ------------------------------------------------------------------------------------------

DO $$
DECLARE
    wanted record;
    attribute text;
BEGIN
    FOR wanted IN
        SELECT role, login
        FROM (
            VALUES
            ('nexgent_owner', 'NOLOGIN'),
            ('nexgent_migrator', 'LOGIN NOINHERIT'),
            ('nexgent_app', 'LOGIN NOINHERIT'), -- it may become the tenant, and is not one until then
            ('nexgent_tenant', 'LOGIN'),
            ('nexgent_worker', 'LOGIN'),
            ('nexgent_readonly', 'LOGIN')
        ) AS v (role, login)
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v.role)
    LOOP
        EXECUTE format('CREATE ROLE %I %s', wanted.role, wanted.login);
    END LOOP;

    -- What would let one of them past everything below.
    FOR wanted IN
        SELECT *
        FROM pg_roles
        WHERE rolname IN (
            'nexgent_owner', 'nexgent_migrator', 'nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly'
        )
    LOOP
        FOREACH attribute IN ARRAY ARRAY[
            CASE WHEN wanted.rolsuper THEN 'NOSUPERUSER' END,
            CASE WHEN wanted.rolcreaterole THEN 'NOCREATEROLE' END,
            CASE WHEN wanted.rolcreatedb THEN 'NOCREATEDB' END,
            CASE WHEN wanted.rolreplication THEN 'NOREPLICATION' END,
            CASE WHEN wanted.rolbypassrls THEN 'NOBYPASSRLS' END,
            CASE WHEN wanted.rolcanlogin AND wanted.rolname = 'nexgent_owner' THEN 'NOLOGIN' END,
            CASE WHEN wanted.rolinherit AND wanted.rolname IN ('nexgent_migrator', 'nexgent_app') THEN 'NOINHERIT' END
        ]
        LOOP
            IF attribute IS NOT NULL THEN
                EXECUTE format('ALTER ROLE %I %s', wanted.rolname, attribute);
            END IF;
        END LOOP;
    END LOOP;

    -- Which of them may become another one: these two pairs.
    FOR wanted IN
        SELECT g.rolname AS become, m.rolname AS member
        FROM pg_auth_members AS a
        JOIN pg_roles AS g ON g.oid = a.roleid
        JOIN pg_roles AS m ON m.oid = a.member
        WHERE g.rolname ~ '^(nexgent_owner|nexgent_migrator|nexgent_app|nexgent_tenant|nexgent_worker|nexgent_readonly)$'
            AND m.rolname ~ '^(nexgent_owner|nexgent_migrator|nexgent_app|nexgent_tenant|nexgent_worker|nexgent_readonly)$'
            AND (g.rolname, m.rolname) NOT IN (('nexgent_owner', 'nexgent_migrator'), ('nexgent_tenant', 'nexgent_app'))
    LOOP
        EXECUTE format('REVOKE %I FROM %I', wanted.become, wanted.member);
    END LOOP;
    IF NOT pg_has_role('nexgent_migrator', 'nexgent_owner', 'MEMBER') THEN
        GRANT nexgent_owner TO nexgent_migrator;
    END IF;
    IF NOT pg_has_role('nexgent_app', 'nexgent_tenant', 'MEMBER') THEN
        GRANT nexgent_tenant TO nexgent_app;
    END IF;
    -- Whoever hands the tables over has to be able to be their owner.
    IF NOT pg_has_role('nexgent_owner', 'USAGE') THEN
        EXECUTE format('GRANT nexgent_owner TO %I', current_user);
    END IF;
END
$$;

-- The database and the schema --------------------------------------------------------------------

DO $$
DECLARE
    this_schema text := current_schema();
    missing text;
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
        WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type = 'TEMPORARY'
    ) THEN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    END IF;
    IF EXISTS (
        SELECT
        FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
        WHERE n.nspname = this_schema AND a.grantee = 0 AND a.privilege_type = 'CREATE'
    ) THEN
        EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', this_schema);
    END IF;
    FOREACH missing IN ARRAY ARRAY[
        'nexgent_owner', 'nexgent_migrator', 'nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly'
    ]
    LOOP
        IF NOT has_schema_privilege(missing, this_schema, 'USAGE') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', this_schema, missing);
        END IF;
        IF NOT has_database_privilege(missing, current_database(), 'CONNECT') THEN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), missing);
        END IF;
        IF missing <> 'nexgent_owner' AND has_schema_privilege(missing, this_schema, 'CREATE') THEN
            EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM %I', this_schema, missing);
        END IF;
    END LOOP;
    IF NOT has_schema_privilege('nexgent_owner', this_schema, 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON SCHEMA %I TO nexgent_owner', this_schema);
    END IF;

    -- REVOKE only warns of what it may not do.
    SELECT string_agg(role, ', ' ORDER BY role) INTO missing
    FROM unnest(ARRAY['nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly']) AS role
    WHERE has_schema_privilege(role, this_schema, 'CREATE') OR has_database_privilege(role, current_database(), 'TEMPORARY');
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'still able to create tables: %', missing
            USING HINT = 'Run this as the owner of the database and of the schema, or as a superuser.';
    END IF;
END
$$;

-- The migrator's sessions in this database begin as the owner, so what a migration makes belongs to the owner.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_db_role_setting AS s
        JOIN pg_database AS d ON d.oid = s.setdatabase
        JOIN pg_roles AS r ON r.oid = s.setrole
        WHERE d.datname = current_database() AND r.rolname = 'nexgent_migrator' AND 'role=nexgent_owner' = ANY(s.setconfig)
    ) THEN
        EXECUTE format('ALTER ROLE nexgent_migrator IN DATABASE %I SET role TO nexgent_owner', current_database());
    END IF;
END
$$;

-- The owner --------------------------------------------------------------------------------------

DO $$
DECLARE
    owned record;
BEGIN
    FOR owned IN
        SELECT c.oid::regclass AS name, c.relkind
        FROM pg_class AS c
        WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
            AND c.relname IN (
                'users', 'api_keys', 'agents', 'agent_wallets', 'agent_balances', 'agent_balance_snapshots',
                'agent_positions', 'agent_transactions', 'agent_historical_swaps', 'trading_signals',
                'signal_executions', 'trade_requests', 'cache_outbox', 'row_version_seq',
                '_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock', '_nexgent_migration', '_nexgent_repair'
            )
            AND c.relowner <> 'nexgent_owner'::regrole
    LOOP
        EXECUTE format(
            'ALTER %s %s OWNER TO nexgent_owner', CASE owned.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, owned.name
        );
    END LOOP;
    FOR owned IN
        SELECT p.oid::regprocedure AS name
        FROM pg_proc AS p
        WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
            AND p.proname IN (
                'set_row_version', 'agents_to_cache_outbox', 'agent_balances_to_cache_outbox',
                'agent_positions_to_cache_outbox', 'truncated_to_cache_outbox', 'ratio', 'sol_mint', 'transaction_effects'
            )
            AND p.proowner <> 'nexgent_owner'::regrole
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO nexgent_owner', owned.name);
    END LOOP;
    IF to_regtype('"TransactionType"') IS NOT NULL AND EXISTS (
        SELECT FROM pg_type WHERE oid = to_regtype('"TransactionType"') AND typowner <> 'nexgent_owner'::regrole
    ) THEN
        ALTER TYPE "TransactionType" OWNER TO nexgent_owner;
    END IF;
END
$$;

-- Grants -----------------------------------------------------------------------------------------
-- What is not said here is taken away. UPDATE names its columns, so that nobody can move a row to another owner, and a
-- ledger with it (its foreign keys say ON UPDATE CASCADE). Locking a row needs the right to update one of its columns.
-- The outbox is written by triggers as whoever makes the change: a made-up row there makes the cache read again, no more.
-- The ledger goes only whole, with its wallet, agent or user: what a foreign key deletes, the tables' owner deletes.

REVOKE ALL ON
users, api_keys, agents, agent_wallets, agent_balances, agent_balance_snapshots, agent_positions, agent_transactions,
agent_historical_swaps, trading_signals, signal_executions, trade_requests, cache_outbox
FROM public, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly;
REVOKE ALL ON SEQUENCE row_version_seq, trading_signals_id_seq
FROM public, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly;

-- People
GRANT SELECT, INSERT, DELETE, UPDATE (email, password_hash, failed_login_attempts, locked_until)
ON users TO nexgent_app, nexgent_tenant;
GRANT SELECT, INSERT, UPDATE (last_used_at, revoked_at)
ON api_keys TO nexgent_app, nexgent_tenant;
GRANT SELECT, INSERT, DELETE, UPDATE (
    name, trading_mode, automated_trading_simulation, automated_trading_live, trading_config, updated_at
) ON agents TO nexgent_app, nexgent_tenant;
GRANT SELECT, UPDATE (automated_trading_simulation, automated_trading_live, updated_at)
ON agents TO nexgent_worker;

-- Trading
GRANT SELECT, INSERT, DELETE, UPDATE (trade_count) ON agent_wallets TO nexgent_app, nexgent_tenant;
GRANT SELECT, UPDATE (trade_count) ON agent_wallets TO nexgent_worker;
GRANT SELECT, INSERT, UPDATE (balance, last_updated)
ON agent_balances TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT SELECT, INSERT, DELETE, UPDATE (
    purchase_price,
    purchase_amount,
    total_invested_sol,
    remaining_amount,
    peak_price,
    lowest_price,
    dca_count,
    dca_transaction_ids,
    last_dca_time,
    proceeds_sol,
    realized_profit_sol,
    take_profit_levels_hit,
    take_profit_transaction_ids,
    last_take_profit_time,
    moon_bag_activated,
    moon_bag_amount,
    tp_batch_start_level,
    total_take_profit_levels,
    updated_at
) ON agent_positions TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT SELECT, INSERT
ON agent_transactions, agent_historical_swaps, trade_requests TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT SELECT, INSERT, DELETE, UPDATE (
    portfolio_balance_sol, sol_balance, positions_value_sol, unrealized_pnl_sol, updated_at
) ON agent_balance_snapshots TO nexgent_app, nexgent_tenant, nexgent_worker;

-- Signals
GRANT SELECT, INSERT, DELETE ON trading_signals TO nexgent_app, nexgent_tenant;
GRANT SELECT ON trading_signals TO nexgent_worker;
GRANT USAGE ON SEQUENCE trading_signals_id_seq TO nexgent_app, nexgent_tenant;
GRANT SELECT, INSERT, UPDATE (status, transaction_id, error, executed_at)
ON signal_executions TO nexgent_app, nexgent_tenant, nexgent_worker;

-- The cache. Which database it is of tells the last version.
GRANT SELECT, INSERT ON cache_outbox TO nexgent_tenant;
GRANT SELECT, INSERT, DELETE, UPDATE (created_at) ON cache_outbox TO nexgent_app, nexgent_worker; -- UPDATE: to lock
GRANT USAGE ON SEQUENCE row_version_seq TO nexgent_app, nexgent_tenant, nexgent_worker;

-- Reading
GRANT SELECT (id, email, created_at, failed_login_attempts, locked_until) ON users TO nexgent_readonly;
GRANT SELECT (id, user_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at)
ON api_keys TO nexgent_readonly;
GRANT SELECT ON
agents, agent_wallets, agent_balances, agent_balance_snapshots, agent_positions, agent_transactions,
agent_historical_swaps, trading_signals, signal_executions, trade_requests, cache_outbox
TO nexgent_readonly;
ALTER DEFAULT PRIVILEGES FOR ROLE nexgent_owner GRANT SELECT ON TABLES TO nexgent_readonly;

-- Which migrations were applied: services look at their start. The texts of the files hold no data.
DO $$
DECLARE
    book text;
BEGIN
    FOREACH book IN ARRAY ARRAY[
        '_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock', '_nexgent_migration', '_nexgent_repair'
    ]
    LOOP
        IF to_regclass(format('%I.%I', current_schema(), book)) IS NOT NULL THEN
            EXECUTE format(
                'REVOKE ALL ON %I FROM PUBLIC, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker,'
                ' nexgent_readonly', book
            );
            EXECUTE format('GRANT SELECT ON %I TO nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly', book);
        END IF;
    END LOOP;
END
$$;

-- Row-level security -----------------------------------------------------------------------------
-- Each table has two policies. "everyone" lets grants decide, as without row-level security; "tenant" restricts
-- nexgent_tenant, and nobody else, to the rows of one user. The setting is the transaction's own; where it was never
-- set, or a transaction that had it has ended ('' then), no row is to be seen. What belongs to an agent is the tenant's when
-- the agent is: agents have a policy of their own, which holds inside the others. Sub-selects are read once a statement.
-- Foreign keys and what they cascade to are not restricted: they are the owner's.
-- The conditions stand as PostgreSQL prints them: so they are compared, and left alone when they are the same.

DO $$
DECLARE
    one_user text := '( SELECT (NULLIF(current_setting(''nexgent.user_id''::text, true), ''''::text))::uuid AS "nullif")';
    own_agent text := E'(agent_id = ANY (ARRAY( SELECT a.id\n   FROM agents a)))'; -- of those that the tenant sees
    own_transaction text := '(xid = pg_current_xact_id_if_assigned())';
    wanted record;
BEGIN
    FOR wanted IN
        SELECT
            c.oid,
            c.relrowsecurity,
            v.relation,
            v.policy,
            v.kind,
            v.role,
            v.readable,
            v.writable
        FROM (
            SELECT
                relation,
                'tenant' AS policy,
                'RESTRICTIVE' AS kind,
                'nexgent_tenant' AS role,
                readable,
                coalesce(writable, readable) AS writable
            FROM (
                VALUES
                ('users', format('(id = %s)', one_user), NULL),
                ('api_keys', format('(user_id = %s)', one_user), NULL),
                ('agents', format('(user_id = %s)', one_user), NULL),
                ('trading_signals', format('(user_id = %s)', one_user), NULL),
                ('agent_wallets', own_agent, NULL),
                ('agent_balances', own_agent, NULL),
                ('agent_balance_snapshots', own_agent, NULL),
                ('agent_positions', own_agent, NULL),
                ('agent_transactions', own_agent, NULL),
                ('agent_historical_swaps', own_agent, NULL),
                ('signal_executions', own_agent, NULL),
                ('trade_requests', own_agent, NULL),
                (
                    'cache_outbox',
                    own_transaction,
                    format('(%s AND ((entity)::text <> ''everything''::text))', own_transaction)
                )
            ) AS own (relation, readable, writable)
            UNION ALL
            SELECT relname, 'everyone', 'PERMISSIVE', 'public', 'true', 'true'
            FROM pg_class
            WHERE relname IN (
                'users', 'api_keys', 'agents', 'trading_signals', 'agent_wallets', 'agent_balances',
                'agent_balance_snapshots', 'agent_positions', 'agent_transactions', 'agent_historical_swaps',
                'signal_executions', 'trade_requests', 'cache_outbox'
            )
                AND relnamespace = quote_ident(current_schema())::regnamespace
        ) AS v
        JOIN pg_class AS c ON c.relname = v.relation AND c.relnamespace = quote_ident(current_schema())::regnamespace
        WHERE NOT c.relrowsecurity
            OR NOT EXISTS (
                SELECT
                FROM pg_policy AS p
                WHERE p.polrelid = c.oid
                    AND p.polname = v.policy
                    AND p.polcmd = '*'
                    AND p.polpermissive = (v.kind = 'PERMISSIVE')
                    AND p.polroles = ARRAY[CASE v.role WHEN 'public' THEN 0 ELSE v.role::regrole END]::oid[]
                    AND pg_get_expr(p.polqual, p.polrelid) = v.readable
                    AND pg_get_expr(p.polwithcheck, p.polrelid) = v.writable
            )
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %I', wanted.policy, wanted.relation);
        EXECUTE format(
            'CREATE POLICY %I ON %I AS %s FOR ALL TO %s USING (%s) WITH CHECK (%s)',
            wanted.policy, wanted.relation, wanted.kind, wanted.role, wanted.readable, wanted.writable
        );
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', wanted.relation);
    END LOOP;
END
$$;
