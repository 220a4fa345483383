-- preflight: true
-- Why: a row that a later migration refuses would stop it halfway between two schemas. Here all of them are told at once,
-- before anything is changed, each with its key and with what to do. Later ones keep their guards, for rows that come
-- meanwhile.
-- Locks: ACCESS SHARE on each table until the end, which is when all are read: some seconds for a million rows. Reads
-- and writes go on.
-- Rollback loses: nothing.
--
-- It only reads, and can be run on its own at any time: psql -f, on a database at any migration before or after this one.
-- `nexgent-db migrate` runs it before whatever else is pending; `nexgent-db adopt --report` runs its queries and shows
-- all that they find, where the error below lists the first hundred.
--
-- How to read the queries: each stands between two tags with the name of its table. A row that is `refused` stands in
-- the way of what `rule` names: a constraint of a later migration, or a migration. The others are told of, since they
-- will not be as before. What must hold is written as the later migration writes it; where it is NULL, it holds.
-- They are ordered by `key` and not by the id, whose index would be followed: each table is read from end to end, once
-- for its times and once for the rest.
-- A column that the history has yet to make is found in `absent`, and is NULL there: an inner query looks for a name in
-- its own tables first.

DO $$
DECLARE
    queries CONSTANT text[] := ARRAY[
    ['users', $users$
        SELECT
            format('id = %L', id) AS key,
            'email' AS column_name,
            email AS value,
            'users_lower_email_key' AS rule,
            'give one address to one user, in whatever case: change the others, or delete those users' AS what_to_do,
            true AS refused
        FROM (SELECT id, email, count(*) OVER (PARTITION BY lower(normalize(email) COLLATE "C")) AS users FROM users) AS u
        WHERE u.users > 1
        ORDER BY lower(normalize(email) COLLATE "C"), id
    $users$],
    ['agents', $agents$
        SELECT
            format('id = %L', id) AS key,
            'trading_mode' AS column_name,
            trading_mode AS value,
            'agents_trading_mode_check' AS rule,
            'set it to simulation or live' AS what_to_do,
            true AS refused
        FROM agents
        WHERE NOT trading_mode IN ('simulation', 'live')
        ORDER BY key
    $agents$],
    ['agent_wallets', $agent_wallets$
        SELECT
            format('wallet_address = %L', wallet_address) AS key,
            'wallet_type' AS column_name,
            wallet_type AS value,
            'agent_wallets_wallet_type_check' AS rule,
            'set it to simulation or live' AS what_to_do,
            true AS refused
        FROM agent_wallets
        WHERE NOT wallet_type IN ('simulation', 'live')
        ORDER BY key
    $agent_wallets$],
    ['agent_balances', $agent_balances$
        SELECT
            format('id = %L', b.id) AS key,
            r.column_name,
            r.value,
            r.rule,
            r.what_to_do,
            true AS refused
        FROM (
            SELECT
                id,
                agent_id,
                wallet_address,
                balance::text AS balance,
                CASE
                    WHEN length(balance::text) <= 1000 AND balance::text
                        ~ '^[ \t\n\v\f\r]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?[ \t\n\v\f\r]*$'
                        THEN balance::text::numeric
                END AS number
            FROM agent_balances
        ) AS b
        LEFT JOIN agent_wallets AS w ON w.wallet_address = b.wallet_address
        CROSS JOIN LATERAL (
            SELECT
                b.number IS NOT NULL AS is_number,
                abs(b.number) < 1e20 AND b.number = trunc(b.number, 18) AS has_room,
                b.number >= 0 AS not_negative,
                coalesce(w.agent_id = b.agent_id, false) AS own_wallet
        ) AS holds
        CROSS JOIN LATERAL (
            VALUES
            (
                'balance', b.balance, holds.is_number, '20261123090100_store_balances_as_numeric',
                'write it as a decimal number (digits, one point, an exponent) of at most 1000 characters'
            ),
            (
                'balance', b.balance, holds.has_room, '20261123090100_store_balances_as_numeric',
                'write a number below 1e20 with at most 18 decimals: more are not kept'
            ),
            (
                'balance', b.balance, holds.not_negative, 'agent_balances_balance_check',
                'set it to what the wallet holds: 0 or more'
            ),
            (
                'wallet_address', b.wallet_address, holds.own_wallet,
                'agent_balances_agent_id_wallet_address_fkey',
                format(
                    'set agent_id to the wallet''s agent (%s; here: %s), or delete the row',
                    coalesce(w.agent_id::text, 'there is no such wallet'), b.agent_id
                )
            )
        ) AS r (column_name, value, holds, rule, what_to_do)
        WHERE NOT (holds.is_number AND holds.has_room AND holds.not_negative AND holds.own_wallet) AND NOT r.holds
        ORDER BY key, r.column_name, r.rule
    $agent_balances$],
    ['trading_signals', $trading_signals$
        SELECT
            format('id = %s', id) AS key,
            'signal_strength' AS column_name,
            signal_strength::text AS value,
            'trading_signals_signal_strength_check' AS rule,
            'set it to 1 to 100' AS what_to_do,
            true AS refused
        FROM trading_signals
        WHERE NOT signal_strength BETWEEN 1 AND 100
        UNION ALL
        SELECT
            NULL,
            'price_sol',
            format('%s values', count(s.price_sol)),
            '20251212112507_remove_price_sol_from_trading_signals',
            'this column is dropped: copy its values first if you want to keep them',
            false
        FROM (VALUES (NULL::numeric)) AS absent (price_sol)
        CROSS JOIN LATERAL (SELECT price_sol FROM trading_signals) AS s
        HAVING count(s.price_sol) > 0
        ORDER BY refused DESC, key
    $trading_signals$],
    ['signal_executions', $signal_executions$
        SELECT
            format('id = %L', id) AS key,
            'status' AS column_name,
            status AS value,
            'signal_executions_status_check' AS rule,
            'set it to PENDING, EXECUTED, FAILED or SKIPPED' AS what_to_do,
            true AS refused
        FROM signal_executions
        WHERE NOT status IN ('PENDING', 'EXECUTED', 'FAILED', 'SKIPPED')
        ORDER BY key
    $signal_executions$],
    ['agent_transactions', $agent_transactions$
        SELECT
            format('id = %L', t.id) AS key,
            r.column_name,
            r.value,
            r.rule,
            r.what_to_do,
            true AS refused
        FROM (VALUES (NULL::numeric, NULL::numeric)) AS absent (protocol_fee_sol, network_fee_sol)
        CROSS JOIN LATERAL (
            SELECT
                id,
                agent_id,
                wallet_address,
                input_amount,
                output_amount,
                input_price,
                output_price,
                fees,
                protocol_fee_sol,
                network_fee_sol
            FROM agent_transactions
        ) AS t
        LEFT JOIN agent_wallets AS w ON w.wallet_address = t.wallet_address
        CROSS JOIN LATERAL (
            SELECT
                t.input_amount > 0 AND t.input_amount <> 'NaN' AS input_amount,
                t.output_amount > 0 AND t.output_amount <> 'NaN' AS output_amount,
                t.input_price >= 0 AND t.input_price <> 'NaN' AS input_price,
                t.output_price >= 0 AND t.output_price <> 'NaN' AS output_price,
                t.fees >= 0 AND t.fees <> 'NaN' AS fees,
                t.protocol_fee_sol >= 0 AND t.protocol_fee_sol <> 'NaN' AS protocol_fee_sol,
                t.network_fee_sol >= 0 AND t.network_fee_sol <> 'NaN' AS network_fee_sol,
                t.wallet_address IS NULL OR coalesce(w.agent_id = t.agent_id, false) AS own_wallet
        ) AS holds
        CROSS JOIN LATERAL (
            VALUES
            (
                'input_amount', t.input_amount::text, holds.input_amount, 'agent_transactions_input_amount_check',
                'set it to what was given, above 0, or to NULL'
            ),
            (
                'output_amount', t.output_amount::text, holds.output_amount, 'agent_transactions_output_amount_check',
                'set it to what was received, above 0, or to NULL'
            ),
            (
                'input_price', t.input_price::text, holds.input_price, 'agent_transactions_prices_check',
                'set it to 0 or more, or to NULL'
            ),
            (
                'output_price', t.output_price::text, holds.output_price, 'agent_transactions_prices_check',
                'set it to 0 or more, or to NULL'
            ),
            ('fees', t.fees::text, holds.fees, 'agent_transactions_fees_check', 'set it to 0 or more, or to NULL'),
            (
                'protocol_fee_sol', t.protocol_fee_sol::text, holds.protocol_fee_sol, 'agent_transactions_fees_check',
                'set it to 0 or more, or to NULL'
            ),
            (
                'network_fee_sol', t.network_fee_sol::text, holds.network_fee_sol, 'agent_transactions_fees_check',
                'set it to 0 or more, or to NULL'
            ),
            (
                'wallet_address', t.wallet_address, holds.own_wallet,
                'agent_transactions_agent_id_wallet_address_fkey',
                format(
                    'set agent_id to the wallet''s agent (%s; here: %s), or wallet_address to NULL',
                    coalesce(w.agent_id::text, 'there is no such wallet'), t.agent_id
                )
            )
        ) AS r (column_name, value, holds, rule, what_to_do)
        WHERE NOT (
            holds.input_amount AND holds.output_amount AND holds.input_price AND holds.output_price
            AND holds.fees AND holds.protocol_fee_sol AND holds.network_fee_sol AND holds.own_wallet
        ) AND NOT r.holds
        ORDER BY key, r.column_name
    $agent_transactions$],
    ['agent_positions', $agent_positions$
        SELECT
            format('id = %L', p.id) AS key,
            r.column_name,
            r.value,
            r.rule,
            r.what_to_do,
            true AS refused
        FROM (
            VALUES (
                NULL::numeric, NULL::numeric, NULL::numeric, NULL::numeric,
                NULL::integer, NULL::integer, NULL::integer, NULL::integer, NULL::text[], NULL::text[]
            )
        ) AS absent (
            total_invested_sol, remaining_amount, moon_bag_amount, realized_profit_sol,
            dca_count, take_profit_levels_hit, tp_batch_start_level, total_take_profit_levels,
            dca_transaction_ids, take_profit_transaction_ids
        )
        CROSS JOIN LATERAL (
            SELECT
                id,
                agent_id,
                wallet_address,
                purchase_price,
                purchase_amount,
                total_invested_sol,
                remaining_amount,
                moon_bag_amount,
                realized_profit_sol,
                dca_count,
                take_profit_levels_hit,
                tp_batch_start_level,
                total_take_profit_levels,
                dca_transaction_ids::text[] AS dca_transaction_ids,
                take_profit_transaction_ids::text[] AS take_profit_transaction_ids
            FROM agent_positions
        ) AS p
        LEFT JOIN agent_wallets AS w ON w.wallet_address = p.wallet_address
        CROSS JOIN LATERAL (
            SELECT
                p.purchase_price >= 0 AND p.purchase_price <> 'NaN' AS purchase_price,
                p.purchase_amount > 0 AND p.purchase_amount <> 'NaN' AS purchase_amount,
                p.total_invested_sol >= 0 AND p.total_invested_sol <> 'NaN' AS total_invested_sol,
                p.remaining_amount BETWEEN 0 AND p.purchase_amount AS remaining_amount,
                p.moon_bag_amount BETWEEN 0 AND coalesce(p.remaining_amount, p.purchase_amount) AS moon_bag_amount,
                p.dca_count >= 0 AS dca_count,
                p.take_profit_levels_hit >= 0 AS take_profit_levels_hit,
                p.tp_batch_start_level >= 0 AS tp_batch_start_level,
                p.total_take_profit_levels >= 0 AS total_take_profit_levels,
                -- total_invested_sol is price times amount where a migration of the history has yet to fill it.
                p.total_invested_sol IS NOT NULL
                OR 'NaN' IN (p.purchase_price, p.purchase_amount)
                OR abs(round(p.purchase_price * p.purchase_amount, 8)) < 1e12 AS invested_has_room,
                -- The proceeds of what was sold in part are this profit and the cost basis.
                NOT (p.remaining_amount < p.purchase_amount AND p.realized_profit_sol = 'NaN') AS realized_profit_sol,
                -- Every text that PostgreSQL reads as a uuid: a hyphen may stand behind each four digits.
                NOT EXISTS (
                    SELECT FROM unnest(p.dca_transaction_ids) AS listed (id)
                    WHERE id !~ '^(([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}|\{([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}\})$'
                ) AS dca_transaction_ids,
                NOT EXISTS (
                    SELECT FROM unnest(p.take_profit_transaction_ids) AS listed (id)
                    WHERE id !~ '^(([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}|\{([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}\})$'
                ) AS take_profit_transaction_ids,
                coalesce(w.agent_id = p.agent_id, false) AS own_wallet
        ) AS holds
        CROSS JOIN LATERAL (
            VALUES
            (
                'purchase_price', p.purchase_price::text, holds.purchase_price, 'agent_positions_purchase_check',
                'set it to 0 or more'
            ),
            (
                'purchase_amount', p.purchase_amount::text, holds.purchase_amount, 'agent_positions_purchase_check',
                'set it to what was bought, above 0, or delete the position'
            ),
            (
                'total_invested_sol', p.total_invested_sol::text, holds.total_invested_sol,
                'agent_positions_purchase_check',
                'set it to what was paid, 0 or more'
            ),
            (
                'remaining_amount', p.remaining_amount::text, holds.remaining_amount,
                'agent_positions_remaining_amount_check',
                format('set it to 0 to purchase_amount, %s, or to NULL for all of it', p.purchase_amount)
            ),
            (
                'moon_bag_amount', p.moon_bag_amount::text, holds.moon_bag_amount,
                'agent_positions_moon_bag_amount_check',
                format(
                    'set it to 0 to what remains, %s, or to NULL for none',
                    coalesce(p.remaining_amount, p.purchase_amount)
                )
            ),
            (
                'dca_count', p.dca_count::text, holds.dca_count, 'agent_positions_counters_check',
                'set it to 0 or more'
            ),
            (
                'take_profit_levels_hit', p.take_profit_levels_hit::text, holds.take_profit_levels_hit,
                'agent_positions_counters_check',
                'set it to 0 or more'
            ),
            (
                'tp_batch_start_level', p.tp_batch_start_level::text, holds.tp_batch_start_level,
                'agent_positions_counters_check',
                'set it to 0 or more'
            ),
            (
                'total_take_profit_levels', p.total_take_profit_levels::text, holds.total_take_profit_levels,
                'agent_positions_counters_check',
                'set it to 0 or more, or to NULL for those of the configuration'
            ),
            (
                'purchase_price', p.purchase_price::text, holds.invested_has_room,
                '20251220230728_add_dca_fields_to_positions',
                format('correct it, or purchase_amount, %s: they must multiply to below 1e12 SOL', p.purchase_amount)
            ),
            (
                'realized_profit_sol', p.realized_profit_sol::text, holds.realized_profit_sol,
                '20261123091210_fill_position_proceeds',
                'set it to what the sales so far have earned'
            ),
            (
                'dca_transaction_ids', p.dca_transaction_ids::text, holds.dca_transaction_ids,
                '20261123090300_widen_position_numbers',
                'write the id of a transaction (a UUID), or take it from the list'
            ),
            (
                'take_profit_transaction_ids', p.take_profit_transaction_ids::text, holds.take_profit_transaction_ids,
                '20261123090300_widen_position_numbers',
                'write the id of a transaction (a UUID), or take it from the list'
            ),
            (
                'wallet_address', p.wallet_address, holds.own_wallet,
                'agent_positions_agent_id_wallet_address_fkey',
                format(
                    'set agent_id to the wallet''s agent (%s; here: %s), or delete the position',
                    coalesce(w.agent_id::text, 'there is no such wallet'), p.agent_id
                )
            )
        ) AS r (column_name, value, holds, rule, what_to_do)
        WHERE NOT (
            holds.purchase_price AND holds.purchase_amount AND holds.total_invested_sol AND holds.remaining_amount
            AND holds.moon_bag_amount AND holds.dca_count AND holds.take_profit_levels_hit
            AND holds.tp_batch_start_level AND holds.total_take_profit_levels AND holds.invested_has_room
            AND holds.realized_profit_sol AND holds.dca_transaction_ids AND holds.take_profit_transaction_ids
            AND holds.own_wallet
        ) AND NOT r.holds
        ORDER BY key, r.column_name, r.rule
    $agent_positions$],
    ['agent_historical_swaps', $agent_historical_swaps$
        SELECT
            format('id = %L', s.id) AS key,
            r.column_name,
            r.value,
            r.rule,
            r.what_to_do,
            true AS refused
        FROM (VALUES (NULL::text)) AS absent (close_reason)
        CROSS JOIN LATERAL (
            SELECT
                id,
                agent_id,
                wallet_address,
                amount,
                purchase_time,
                sale_time,
                close_reason
            FROM agent_historical_swaps
        ) AS s
        LEFT JOIN agent_wallets AS w ON w.wallet_address = s.wallet_address
        CROSS JOIN LATERAL (
            SELECT
                s.amount > 0 AND s.amount <> 'NaN' AS amount,
                s.sale_time >= s.purchase_time AS sale_time,
                s.close_reason IN ('manual', 'stop_loss', 'stale_trade', 'take_profit') AS close_reason,
                s.wallet_address IS NULL OR coalesce(w.agent_id = s.agent_id, false) AS own_wallet
        ) AS holds
        CROSS JOIN LATERAL (
            VALUES
            (
                'amount', s.amount::text, holds.amount, 'agent_historical_swaps_amount_check',
                'set it to what was sold, above 0'
            ),
            (
                'sale_time', s.sale_time::text, holds.sale_time, 'agent_historical_swaps_sale_time_check',
                format('correct it, or purchase_time, %s: nothing is sold before it is bought', s.purchase_time)
            ),
            (
                'close_reason', s.close_reason, holds.close_reason, 'agent_historical_swaps_close_reason_check',
                'set it to manual, stop_loss, stale_trade or take_profit, or to NULL for unknown'
            ),
            (
                'wallet_address', s.wallet_address, holds.own_wallet,
                'agent_historical_swaps_agent_id_wallet_address_fkey',
                format(
                    'set agent_id to the wallet''s agent (%s; here: %s), or wallet_address to NULL',
                    coalesce(w.agent_id::text, 'there is no such wallet'), s.agent_id
                )
            )
        ) AS r (column_name, value, holds, rule, what_to_do)
        WHERE NOT (holds.amount AND holds.sale_time AND holds.close_reason AND holds.own_wallet) AND NOT r.holds
        ORDER BY key, r.column_name
    $agent_historical_swaps$],
    ['agent_balance_snapshots', $agent_balance_snapshots$
        SELECT
            format('id = %L', s.id) AS key,
            'wallet_address' AS column_name,
            s.wallet_address AS value,
            'agent_balance_snapshots_agent_id_wallet_address_fkey' AS rule,
            format(
                'set agent_id to the wallet''s agent (%s; here: %s), or delete the row',
                coalesce(w.agent_id::text, 'there is no such wallet'), s.agent_id
            ) AS what_to_do,
            true AS refused
        FROM (VALUES (NULL::text)) AS absent (wallet_address)
        CROSS JOIN LATERAL (SELECT id, agent_id, wallet_address FROM agent_balance_snapshots) AS s
        LEFT JOIN agent_wallets AS w ON w.wallet_address = s.wallet_address
        WHERE NOT (s.wallet_address IS NULL OR coalesce(w.agent_id = s.agent_id, false))
        UNION ALL
        SELECT
            NULL,
            'wallet_address',
            format('%s rows', count(*)),
            '20251221120000_add_wallet_address_to_balance_snapshots',
            'rows without a wallet are deleted: copy them first if you want to keep them',
            false
        FROM (VALUES (NULL::text)) AS absent (wallet_address)
        CROSS JOIN LATERAL (SELECT wallet_address FROM agent_balance_snapshots) AS s
        WHERE s.wallet_address IS NULL
        HAVING count(*) > 0
        ORDER BY refused DESC, key
    $agent_balance_snapshots$],
    ['users', $users_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'users_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM users AS t
        CROSS JOIN LATERAL (VALUES ('created_at', t.created_at), ('locked_until', t.locked_until)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $users_times$],
    ['agents', $agents_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agents_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agents AS t
        CROSS JOIN LATERAL (VALUES ('created_at', t.created_at), ('updated_at', t.updated_at)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agents_times$],
    ['agent_wallets', $agent_wallets_times$
        SELECT
            format('wallet_address = %L', t.wallet_address) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_wallets_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agent_wallets AS t
        CROSS JOIN LATERAL (VALUES ('created_at', t.created_at), ('updated_at', t.updated_at)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_wallets_times$],
    ['agent_balances', $agent_balances_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_balances_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agent_balances AS t
        CROSS JOIN LATERAL (VALUES ('last_updated', t.last_updated)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_balances_times$],
    ['trading_signals', $trading_signals_times$
        SELECT
            format('id = %s', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'trading_signals_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM trading_signals AS t
        CROSS JOIN LATERAL (VALUES ('created_at', t.created_at), ('updated_at', t.updated_at)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $trading_signals_times$],
    ['signal_executions', $signal_executions_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'signal_executions_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM signal_executions AS t
        CROSS JOIN LATERAL (VALUES ('executed_at', t.executed_at)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $signal_executions_times$],
    ['agent_transactions', $agent_transactions_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_transactions_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agent_transactions AS t
        CROSS JOIN LATERAL (VALUES
            ('transaction_time', t.transaction_time),
            ('created_at', t.created_at),
            ('updated_at', t.updated_at)
        ) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_transactions_times$],
    ['agent_positions', $agent_positions_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_positions_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM (VALUES (NULL::timestamptz, NULL::timestamptz)) AS absent (last_dca_time, last_take_profit_time)
        CROSS JOIN LATERAL (
            SELECT id, last_stop_loss_update, created_at, updated_at, last_dca_time, last_take_profit_time
            FROM agent_positions
        ) AS t
        CROSS JOIN LATERAL (VALUES
            ('last_stop_loss_update', t.last_stop_loss_update),
            ('created_at', t.created_at),
            ('updated_at', t.updated_at),
            ('last_dca_time', t.last_dca_time),
            ('last_take_profit_time', t.last_take_profit_time)
        ) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_positions_times$],
    ['agent_historical_swaps', $agent_historical_swaps_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_historical_swaps_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agent_historical_swaps AS t
        CROSS JOIN LATERAL (VALUES
            ('purchase_time', t.purchase_time),
            ('sale_time', t.sale_time),
            ('created_at', t.created_at)
        ) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_historical_swaps_times$],
    ['agent_balance_snapshots', $agent_balance_snapshots_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'agent_balance_snapshots_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM agent_balance_snapshots AS t
        CROSS JOIN LATERAL (VALUES
            ('snapshot_timestamp', t.snapshot_timestamp),
            ('created_at', t.created_at),
            ('updated_at', t.updated_at)
        ) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $agent_balance_snapshots_times$],
    ['api_keys', $api_keys_times$
        SELECT
            format('id = %L', t.id) AS key,
            c.column_name,
            c.value::text AS value,
            'api_keys_times_check' AS rule,
            'set it to a time from 0001-01-02 to 9998-12-31 in UTC' AS what_to_do,
            true AS refused
        FROM api_keys AS t
        CROSS JOIN LATERAL (VALUES ('created_at', t.created_at)) AS c (column_name, value)
        WHERE c.value < '0001-01-02 00:00:00+00' OR c.value >= '9999-01-01 00:00:00+00'
        ORDER BY key, c.column_name
    $api_keys_times$]
    ];
    query text[];
    key text;
    column_name text;
    value text;
    rule text;
    what_to_do text;
    refused boolean;
    told text;
    count bigint := 0;
    list text := '';
BEGIN
    -- A policy that hides rows would hide them from these queries alone: then they fail.
    PERFORM set_config('row_security', 'off', true);

    FOREACH query SLICE 1 IN ARRAY queries LOOP
        CONTINUE WHEN to_regclass(format('%I.%I', current_schema(), query[1])) IS NULL;
        FOR key, column_name, value, rule, what_to_do, refused IN EXECUTE query[2] LOOP
            told := format('%s: %s (%s)', to_json(left(value, 200)), what_to_do, rule);
            IF NOT refused THEN
                RAISE NOTICE '%, %: %', query[1], column_name, told;
                CONTINUE;
            END IF;
            count := count + 1;
            IF count <= 100 THEN
                list := list || format(E'%s WHERE %s: %s is %s\n', query[1], key, column_name, told);
            END IF;
        END LOOP;
    END LOOP;

    IF count > 0 THEN
        RAISE EXCEPTION 'values that a later migration refuses: %; nothing was changed', count
            USING DETAIL = rtrim(list, E'\n') || CASE WHEN count > 100 THEN E'\n...' ELSE '' END,
                HINT = 'Correct them, then migrate again. All of them: nexgent-db adopt --report';
    END IF;
END
$$;
