-- Roles, grants and row-level security. Optional; the migrations do not depend on it. `nexgent-db roles apply` runs
-- this file, `nexgent-db roles apply --check` reports what it would change. With psql: `psql -1 -f sql/roles.sql`.
--
--   nexgent_owner     owns the tables; cannot log in
--   nexgent_migrator  logs in to migrate; its sessions act as the owner
--   nexgent_app       runs every query of this package for all users; no DDL, no update of the ledger
--   nexgent_tenant    the same, for the user of the setting nexgent.user_id only; sees no row when it is not set.
--                     Text that a user writes runs under a login of this user's own, a member of nexgent_tenant with
--                     the user's id in its name: `nexgent-db roles login`
--   nexgent_worker    trades and maintains the cache; no access to users' accounts and API keys
--   nexgent_readonly  reads everything except the hashes of passwords and API keys
--
-- The roles are created without a password; set one with \password nexgent_app. --prefix replaces "nexgent" in the
-- names.
--
-- Run it as a superuser, or as the owner of the database and of the tables with CREATEROLE; once the roles exist, also
-- as the migrator, after each migrate. It changes only what differs, so a second run changes nothing.
-- Locks: the first run takes ACCESS EXCLUSIVE on one table after another and holds all of them to its end. That takes
-- milliseconds, but each lock may wait up to two seconds, and trades wait behind it: run it in a quiet hour. On a
-- timeout the whole run is rolled back. Later runs take no such lock.

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
            ('nexgent_app', 'LOGIN NOINHERIT'), -- may SET ROLE nexgent_tenant, inherits nothing from it
            ('nexgent_tenant', 'LOGIN'),
            ('nexgent_worker', 'LOGIN'),
            ('nexgent_readonly', 'LOGIN')
        ) AS v (role, login)
        WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v.role)
    LOOP
        EXECUTE format('CREATE ROLE %I %s', wanted.role, wanted.login);
    END LOOP;

    -- Remove attributes that would bypass the grants and policies below.
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

    -- Only these two memberships among the roles stay.
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
    -- ALTER TABLE ... OWNER TO requires membership in the new owner.
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

    -- REVOKE without the right to do so only warns, so look at the result.
    SELECT string_agg(role, ', ' ORDER BY role) INTO missing
    FROM unnest(ARRAY['nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly']) AS role
    WHERE has_schema_privilege(role, this_schema, 'CREATE') OR has_database_privilege(role, current_database(), 'TEMPORARY');
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'still able to create tables: %', missing
            USING HINT = 'Run this as the owner of the database and of the schema, or as a superuser.';
    END IF;
END
$$;

-- The migrator's sessions in this database start as nexgent_owner, which then owns what a migration creates.
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
            AND coalesce((SELECT p.relname FROM pg_class AS p WHERE c.relispartition AND p.oid = pg_partition_root(c.oid)), c.relname) IN (
                'users', 'api_keys', 'agents', 'agent_wallets', 'agent_balances', 'agent_balance_snapshots',
                'agent_positions', 'agent_transactions', 'agent_historical_swaps', 'trading_signals',
                'signal_executions', 'trade_requests', 'ledger_purges', 'adopted_deviations', 'user_cells', 'cache_outbox',
                'agent_transaction_keys', 'row_version_seq',
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
                'compact_outbox_v1', 'agents_to_cache_outbox', 'agent_balances_to_cache_outbox', 'agent_positions_to_cache_outbox',
                'truncated_to_cache_outbox', 'new_id', 'ratio', 'sol_mint', 'balance_change',
                'transaction_effects',
                'act_for_every_user', 'caller_acts_for', 'trade_id_of', 'begin_trade_v1', 'first_result_v1', 'change_balances_v1',
                'finish_trade_v1', 'opened_position_v1', 'lock_wallets_v1', 'trade_record_transaction_v1',
                'trade_buy_v1', 'trade_dca_buy_v1', 'trade_sell_v1', 'trade_write_off_v1', 'trade_reset_wallet_v1',
                'lock_signals_v1', 'transaction_taken_v1', 'close_position_v1', 'record_prices_v1', 'next_stop_loss', 'price_changes',
                'prune_trade_requests_v1', 'purge_agent_v1', 'purge_agent_batch_v1', 'protect_ledger', 'protect_whole_ledger',
                'require_wallet', 'require_own_purchase', 'change_wallet_address_v1', 'keep_transaction_key', 'keep_request_key'
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
    IF EXISTS (
        SELECT FROM pg_type WHERE oid = to_regtype('trade_result_v1') AND typowner <> 'nexgent_owner'::regrole
    ) THEN
        ALTER TYPE trade_result_v1 OWNER TO nexgent_owner;
    END IF;
END
$$;

-- Grants -----------------------------------------------------------------------------------------
-- Rights that are not granted here are revoked. UPDATE is granted by column, so that no role can move a row to another
-- owner and its ledger with it (the foreign keys are ON UPDATE CASCADE). change_wallet_address_v1 changes a wallet's
-- address, and nothing else. Balances, the money of positions and the ledger
-- are written by the functions of trades alone, which run with the rights of their owner; a role that may execute
-- act_for_every_user trades with every wallet, the tenants' role with its user's. Triggers and functions write the
-- outbox and draw its versions with the rights of their owner: no role of a service can.

REVOKE ALL ON
users, api_keys, agents, agent_wallets, agent_balances, agent_balance_snapshots, agent_positions, agent_transactions,
agent_historical_swaps, trading_signals, signal_executions, trade_requests, ledger_purges, adopted_deviations, user_cells,
cache_outbox
FROM public, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly;
REVOKE ALL ON SEQUENCE row_version_seq, trading_signals_id_seq
FROM public, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly;
REVOKE ALL ON FUNCTION
act_for_every_user, begin_trade_v1, first_result_v1, change_balances_v1, finish_trade_v1, opened_position_v1,
lock_signals_v1, transaction_taken_v1, close_position_v1,
lock_wallets_v1, trade_record_transaction_v1, trade_buy_v1, trade_dca_buy_v1, trade_sell_v1, trade_write_off_v1,
trade_reset_wallet_v1, record_prices_v1, change_wallet_address_v1, prune_trade_requests_v1, purge_agent_v1,
purge_agent_batch_v1, compact_outbox_v1, agents_to_cache_outbox, agent_balances_to_cache_outbox,
agent_positions_to_cache_outbox, truncated_to_cache_outbox
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

GRANT SELECT, INSERT, DELETE, UPDATE (cell, updated_at) ON user_cells TO nexgent_app;
GRANT SELECT ON user_cells TO nexgent_tenant, nexgent_worker;

-- Trading
GRANT SELECT, INSERT, DELETE ON agent_wallets TO nexgent_app, nexgent_tenant;
GRANT SELECT ON agent_wallets TO nexgent_worker;
GRANT SELECT ON adopted_deviations TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT SELECT
ON agent_balances, agent_positions, agent_transactions, agent_historical_swaps, trade_requests
TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT EXECUTE ON FUNCTION
lock_wallets_v1, trade_record_transaction_v1, trade_buy_v1, trade_dca_buy_v1, trade_sell_v1, trade_write_off_v1,
trade_reset_wallet_v1, record_prices_v1
TO nexgent_app, nexgent_tenant, nexgent_worker;
GRANT EXECUTE ON FUNCTION change_wallet_address_v1 TO nexgent_app, nexgent_tenant;
GRANT EXECUTE ON FUNCTION act_for_every_user, prune_trade_requests_v1, compact_outbox_v1 TO nexgent_app, nexgent_worker;
GRANT SELECT, INSERT, DELETE, UPDATE (
    portfolio_balance_sol, sol_balance, positions_value_sol, unrealized_pnl_sol, updated_at
) ON agent_balance_snapshots TO nexgent_app, nexgent_tenant, nexgent_worker;

-- Signals
GRANT SELECT, INSERT, DELETE, UPDATE (
    token_address, symbol, signal_type, activation_reason, signal_strength, source, updated_at
) ON trading_signals TO nexgent_app, nexgent_tenant;
GRANT SELECT ON trading_signals TO nexgent_worker;
GRANT USAGE ON SEQUENCE trading_signals_id_seq TO nexgent_app, nexgent_tenant;
GRANT SELECT, INSERT, UPDATE (status, transaction_id, error, executed_at)
ON signal_executions TO nexgent_app, nexgent_tenant, nexgent_worker;

-- Cache. Triggers and functions write the outbox and draw the versions, with their owner's rights. The sequence's last
-- value is part of the database's identity.
GRANT SELECT ON cache_outbox TO nexgent_tenant;
GRANT SELECT, DELETE, UPDATE (created_at) ON cache_outbox TO nexgent_app, nexgent_worker; -- UPDATE: to lock
GRANT SELECT ON SEQUENCE row_version_seq TO nexgent_app, nexgent_tenant, nexgent_worker;

-- Reading
GRANT SELECT (id, email, created_at, failed_login_attempts, locked_until) ON users TO nexgent_readonly;
GRANT SELECT (id, user_id, name, key_prefix, scopes, created_at, expires_at, revoked_at, last_used_at)
ON api_keys TO nexgent_readonly;
GRANT SELECT ON
agents, agent_wallets, agent_balances, agent_balance_snapshots, agent_positions, agent_transactions,
agent_historical_swaps, trading_signals, signal_executions, trade_requests, ledger_purges, adopted_deviations, user_cells,
cache_outbox
TO nexgent_readonly;
ALTER DEFAULT PRIVILEGES FOR ROLE nexgent_owner GRANT SELECT ON TABLES TO nexgent_readonly;

-- Migration history: services read it when they start. The recorded texts of the migrations hold no data.
DO $$
DECLARE
    history_table text;
BEGIN
    FOREACH history_table IN ARRAY ARRAY[
        '_yoyo_log', '_yoyo_migration', '_yoyo_version', 'yoyo_lock', '_nexgent_migration', '_nexgent_repair'
    ]
    LOOP
        IF to_regclass(format('%I.%I', current_schema(), history_table)) IS NOT NULL THEN
            EXECUTE format(
                'REVOKE ALL ON %I FROM PUBLIC, nexgent_migrator, nexgent_app, nexgent_tenant, nexgent_worker,'
                ' nexgent_readonly', history_table
            );
            EXECUTE format('GRANT SELECT ON %I TO nexgent_app, nexgent_tenant, nexgent_worker, nexgent_readonly', history_table);
        END IF;
    END LOOP;
END
$$;

-- Row-level security -----------------------------------------------------------------------------
-- Each table has two policies. "nexgent_everyone" shows the roles of this file every row, so that grants decide as
-- without row-level security; any other role but the owner sees none. "nexgent_tenant" restricts nexgent_tenant, and no
-- other role, to the rows of one user: the one whose id ends the login's name, else the one of the setting
-- nexgent.user_id, as in caller_acts_for(). Roles of another prefix have policies of their own. The setting is local to
-- the transaction; when it was never set, or is '' after a transaction that had set it, no row is visible.
-- A row of an agent is visible when the agent is: the policy on agents applies inside the other policies. PostgreSQL
-- evaluates the sub-selects once per statement. Foreign-key checks and cascades are not restricted: they run as the
-- tables' owner. The conditions are written as PostgreSQL prints them, so that they can be compared and left alone when
-- they are equal.

DO $$
DECLARE
    one_user text := '( SELECT COALESCE(("substring"((SESSION_USER)::text, ''_user_([0-9a-f]{32})$''::text))::uuid,'
        ' (NULLIF(current_setting(''nexgent.user_id''::text, true), ''''::text))::uuid) AS "coalesce")';
    own_agent text := E'(agent_id = ANY (ARRAY( SELECT a.id\n   FROM agents a)))'; -- the policy on agents restricts these
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
            v.roles,
            v.readable,
            v.writable
        FROM (
            SELECT
                relation,
                'nexgent_tenant' AS policy,
                'RESTRICTIVE' AS kind,
                ARRAY['nexgent_tenant'] AS roles,
                readable,
                coalesce(writable, readable) AS writable
            FROM (
                VALUES
                ('users', format('(id = %s)', one_user), NULL),
                ('api_keys', format('(user_id = %s)', one_user), NULL),
                ('agents', format('(user_id = %s)', one_user), NULL),
                ('trading_signals', format('(user_id = %s)', one_user), NULL),
                ('user_cells', format('(user_id = %s)', one_user), NULL),
                ('agent_wallets', own_agent, NULL),
                ('agent_balances', own_agent, NULL),
                ('agent_balance_snapshots', own_agent, NULL),
                ('agent_positions', own_agent, NULL),
                ('agent_transactions', own_agent, NULL),
                ('agent_historical_swaps', own_agent, NULL),
                ('signal_executions', own_agent, NULL),
                ('trade_requests', own_agent, NULL),
                ('ledger_purges', own_agent, NULL),
                ('adopted_deviations', own_agent, NULL),
                (
                    'cache_outbox',
                    own_transaction,
                    format('(%s AND ((entity)::text <> ''everything''::text))', own_transaction)
                )
            ) AS own (relation, readable, writable)
            UNION ALL
            SELECT
                relname,
                'nexgent_everyone',
                'PERMISSIVE',
                ARRAY['nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly'],
                'true',
                'true'
            FROM pg_class
            WHERE relname IN (
                'users', 'api_keys', 'agents', 'trading_signals', 'agent_wallets', 'agent_balances',
                'agent_balance_snapshots', 'agent_positions', 'agent_transactions', 'agent_historical_swaps',
                'signal_executions', 'trade_requests', 'ledger_purges', 'adopted_deviations', 'user_cells', 'cache_outbox'
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
                    AND p.polroles @> v.roles::regrole[]::oid[]
                    AND v.roles::regrole[]::oid[] @> p.polroles
                    AND pg_get_expr(p.polqual, p.polrelid) = v.readable
                    AND pg_get_expr(p.polwithcheck, p.polrelid) = v.writable
            )
    LOOP
        EXECUTE format('DROP POLICY IF EXISTS %I ON %I', wanted.policy, wanted.relation);
        EXECUTE format(
            'CREATE POLICY %I ON %I AS %s FOR ALL TO %s USING (%s) WITH CHECK (%s)',
            wanted.policy, wanted.relation, wanted.kind, array_to_string(wanted.roles, ', '), wanted.readable, wanted.writable
        );
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', wanted.relation);
    END LOOP;
END
$$;

-- Every schema -----------------------------------------------------------------------------------
-- A table of another schema would be found by a search path that names this schema too.

DO $$
DECLARE
    found text;
BEGIN
    SELECT string_agg(format('%s in schema %I', role, n.nspname), ', ' ORDER BY role, n.nspname) INTO found
    FROM pg_namespace AS n,
        unnest(ARRAY['nexgent_app', 'nexgent_tenant', 'nexgent_worker', 'nexgent_readonly']) AS role
    WHERE n.nspname !~ '^pg_' AND has_schema_privilege(role, n.oid, 'CREATE');
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'still able to create tables: %', found
            USING HINT = 'Revoke CREATE on the schema from the role and from PUBLIC.';
    END IF;

    SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY n.nspname, c.relname) INTO found
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_'
        AND n.nspname <> 'information_schema'
        AND n.nspname <> current_schema() -- a service adds its policies to the tables of this one afterwards
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND c.relname !~ '^(_yoyo_|yoyo_lock$|_nexgent_)' -- which migrations were applied
        AND has_schema_privilege('nexgent_tenant', n.oid, 'USAGE')
        AND (
            has_any_column_privilege('nexgent_tenant', c.oid, 'SELECT, INSERT, UPDATE')
            OR has_table_privilege('nexgent_tenant', c.oid, 'DELETE, TRUNCATE')
        )
        AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
        AND NOT (
            c.relrowsecurity
            AND EXISTS (
                SELECT
                FROM pg_policy AS p
                WHERE p.polrelid = c.oid
                    AND NOT p.polpermissive
                    AND p.polcmd = '*'
                    AND 'nexgent_tenant'::regrole::oid = ANY(p.polroles)
            )
        );
    IF found IS NOT NULL THEN
        RAISE EXCEPTION 'nexgent_tenant sees all rows of tables in other schemas: %', found
            USING HINT = 'Revoke its rights on them, or give each a restrictive policy for it.';
    END IF;
END
$$;
