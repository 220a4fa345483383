-- preflight: true
-- Why: an object that depends on a column whose type a later migration changes, or has a name that a later one needs, would
-- stop that migration halfway between two schemas. Here all of them are listed at once, before anything is changed.
-- Locks: none on tables; it reads the catalog.
-- Rollback loses: nothing.
--
-- It only reads, and can be run on its own at any time before the migrations after it. `nexgent-db migrate` runs it before
-- whatever else is pending; `nexgent-db adopt --report` runs its query.
-- A column of text that becomes numeric or uuid[] (is_text) also stops at an index with an expression, a condition or an
-- operator class of its own.

DO $$
DECLARE
    query CONSTANT text := $objects$
        WITH changed (relation, attribute, is_text) AS (
            VALUES
            ('agent_balance_snapshots', 'portfolio_balance_sol', false),
            ('agent_balance_snapshots', 'sol_balance', false),
            ('agent_balance_snapshots', 'positions_value_sol', false),
            ('agent_balance_snapshots', 'unrealized_pnl_sol', false),
            ('agent_balances', 'balance', true),
            ('trading_signals', 'id', false),
            ('agent_transactions', 'signal_id', false),
            ('agent_transactions', 'fees', false),
            ('agent_transactions', 'input_amount', false),
            ('agent_transactions', 'input_price', false),
            ('agent_transactions', 'output_amount', false),
            ('agent_transactions', 'output_price', false),
            ('agent_transactions', 'slippage', false),
            ('agent_transactions', 'price_impact', false),
            ('agent_transactions', 'protocol_fee_sol', false),
            ('agent_transactions', 'network_fee_sol', false),
            ('agent_historical_swaps', 'amount', false),
            ('agent_historical_swaps', 'purchase_price', false),
            ('agent_historical_swaps', 'sale_price', false),
            ('agent_historical_swaps', 'change_percent', false),
            ('agent_historical_swaps', 'profit_loss_sol', false),
            ('agent_historical_swaps', 'signal_id', false),
            ('agent_positions', 'purchase_price', false),
            ('agent_positions', 'purchase_amount', false),
            ('agent_positions', 'current_stop_loss_percentage', false),
            ('agent_positions', 'peak_price', false),
            ('agent_positions', 'dca_transaction_ids', true),
            ('agent_positions', 'lowest_price', false),
            ('agent_positions', 'total_invested_sol', false),
            ('agent_positions', 'remaining_amount', false),
            ('agent_positions', 'take_profit_transaction_ids', true),
            ('agent_positions', 'moon_bag_amount', false),
            ('agent_positions', 'realized_profit_sol', false),
            ('signal_executions', 'signal_id', false)
        ),

        added (relation, attribute) AS (
            VALUES
            ('agents', 'version'),
            ('agent_balances', 'version'),
            ('agent_transactions', 'transaction_leg'),
            ('agent_transactions', 'realized_profit_sol'),
            ('agent_transactions', 'settled_dust'),
            ('agent_positions', 'proceeds_sol'),
            ('agent_positions', 'version'),
            ('api_keys', 'expires_at'),
            ('api_keys', 'revoked_at'),
            ('api_keys', 'last_used_at')
        ),

        needed (name) AS (
            VALUES
            ('trade_requests'),
            ('cache_outbox'),
            ('ledger_purges'),
            ('adopted_deviations'),
            ('user_cells'),
            ('row_version_seq'),
            ('trade_result_v1')
        ),

        depending AS (
            SELECT
                d.classid,
                d.objid,
                d.objsubid,
                c.relation,
                c.attribute,
                c.is_text
            FROM changed AS c
            JOIN pg_attribute AS a
                ON a.attrelid = to_regclass(format('%I.%I', current_schema(), c.relation)) AND a.attname = c.attribute
            JOIN pg_depend AS d
                ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
        )

        SELECT
            pg_describe_object(d.classid, d.objid, d.objsubid) AS key,
            d.relation AS table_name,
            d.attribute AS column_name,
            'the type of the column changes' AS rule,
            'keep its definition, drop it, and create it again after migrate' AS what_to_do
        FROM depending AS d
        LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
        LEFT JOIN pg_attrdef AS f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
        LEFT JOIN pg_attribute AS generated ON generated.attrelid = f.adrelid AND generated.attnum = f.adnum
        LEFT JOIN pg_index AS i ON d.classid = 'pg_class'::regclass AND i.indexrelid = d.objid
        WHERE r.oid IS NOT NULL
            OR d.classid = ANY(ARRAY['pg_policy', 'pg_trigger', 'pg_proc', 'pg_publication_rel']::regclass[])
            OR generated.attgenerated <> ''
            OR (
                d.is_text AND (
                    i.indexprs IS NOT NULL
                    OR i.indpred IS NOT NULL
                    OR EXISTS (SELECT FROM pg_opclass AS o WHERE o.oid = ANY(i.indclass) AND NOT o.opcdefault)
                )
            )
        UNION ALL
        SELECT
            format('column %I of table %s', a.attname, a.attrelid::regclass),
            n.relation,
            n.attribute,
            'a column of this name is added',
            'rename it'
        FROM added AS n
        JOIN pg_attribute AS a
            ON a.attrelid = to_regclass(format('%I.%I', current_schema(), n.relation)) AND a.attname = n.attribute
        UNION ALL
        SELECT
            pg_describe_object('pg_class'::regclass, c.oid, 0),
            n.name,
            NULL,
            'a table, sequence or type of this name is made',
            'rename it'
        FROM needed AS n
        JOIN pg_class AS c ON c.oid = to_regclass(format('%I.%I', current_schema(), n.name))
        ORDER BY 1, 2, 3
    $objects$;
    found record;
    count bigint := 0;
    list text := '';
BEGIN
    FOR found IN EXECUTE query LOOP
        count := count + 1;
        list := list || format(
            E'%s: %s, %s: %s\n',
            found.key, concat_ws('.', found.table_name, found.column_name), found.rule, found.what_to_do
        );
    END LOOP;

    IF count > 0 THEN
        RAISE EXCEPTION 'objects that a later migration stops at: %; nothing was changed', count
            USING DETAIL = rtrim(list, E'\n'), HINT = 'nexgent-db adopt --report lists them, too.';
    END IF;
END
$$;
