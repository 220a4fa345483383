-- Why: resets a simulation wallet: burns every holding, deletes open positions without a historical swap, and deposits
-- opening_sol when it is given. Each burn and the deposit is a transaction; earlier transactions stay. See
-- 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION trade_reset_wallet_v1(
    p_request_id uuid,
    p_content_digest bytea,
    p_agent_id uuid,
    p_wallet_address text,
    p_transaction_time timestamptz,
    p_expires_at timestamptz,
    p_opening_sol numeric,
    OUT trade trade_result_v1,
    OUT transactions agent_transactions[],
    OUT closed_position_ids uuid[]
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    closed_tokens text[];
    transaction_ids uuid[];
    wallet_type text;
BEGIN
    trade := begin_trade_v1(trade_id, p_content_digest, p_agent_id, p_wallet_address, NULL, NULL, p_expires_at);
    IF trade.outcome = 'duplicate' THEN
        SELECT r.position_ids, r.transaction_ids INTO closed_position_ids, transaction_ids
        FROM trade_requests AS r
        WHERE r.id = trade_id;
        SELECT array_agg(t ORDER BY t.transaction_type DESC, t.input_mint COLLATE "C") INTO transactions
        FROM agent_transactions AS t
        WHERE t.id = ANY(transaction_ids);
        SELECT
            array_agg(c.token_address ORDER BY c.token_address COLLATE "C"),
            array_agg(coalesce(b.token_symbol, c.token_symbol) ORDER BY c.token_address COLLATE "C")
        INTO trade.token_addresses, trade.token_symbols
        FROM (
            SELECT
                t.input_mint AS token_address,
                min(t.input_symbol) AS token_symbol
            FROM unnest(transactions) AS t
            GROUP BY t.input_mint
            HAVING sum(CASE t.transaction_type WHEN 'DEPOSIT' THEN t.input_amount ELSE -t.input_amount END) <> 0
        ) AS c
        LEFT JOIN agent_balances AS b
            ON b.wallet_address = p_wallet_address AND b.token_address = c.token_address;
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN;
    END IF;

    SELECT w.wallet_type INTO wallet_type FROM agent_wallets AS w WHERE w.wallet_address = p_wallet_address;
    IF wallet_type <> 'simulation' THEN
        trade.outcome := 'wallet_not_simulated';
        trade.details := jsonb_build_object('wallet_type', wallet_type);
        RETURN;
    END IF;

    PERFORM
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
    ORDER BY p.token_address COLLATE "C"
    FOR UPDATE;
    PERFORM
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address
    ORDER BY b.token_address COLLATE "C"
    FOR NO KEY UPDATE;
    trade.version := nextval('row_version_seq');
    PERFORM set_config('nexgent.trade', 'on', true);

    WITH abandoned AS (
        DELETE FROM agent_positions AS p
        WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
        RETURNING
            p.id,
            p.token_address
    )

    SELECT
        coalesce(array_agg(a.id ORDER BY a.id), '{}'),
        coalesce(array_agg(a.token_address ORDER BY a.id), '{}')
    INTO closed_position_ids, closed_tokens
    FROM abandoned AS a;

    WITH inserted AS (
        INSERT INTO agent_transactions AS t (
            id, agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time,
            input_mint, input_symbol, input_amount, updated_at
        )
        SELECT
            new_id(), p_agent_id, p_wallet_address, e.transaction_type, 0, coalesce(p_transaction_time, now()),
            e.token_address, e.token_symbol, e.amount, now()
        FROM (
            SELECT
                'BURN'::"TransactionType" AS transaction_type,
                b.token_address,
                b.token_symbol,
                b.balance AS amount
            FROM agent_balances AS b
            WHERE b.wallet_address = p_wallet_address AND b.balance > 0
            UNION ALL
            SELECT
                'DEPOSIT',
                sol_mint(),
                'SOL',
                p_opening_sol
            WHERE p_opening_sol > 0
        ) AS e
        RETURNING t.*
    )

    SELECT
        array_agg(i::agent_transactions ORDER BY i.transaction_type DESC, i.input_mint COLLATE "C"),
        coalesce(array_agg(i.id), '{}')
    INTO transactions, transaction_ids
    FROM inserted AS i;

    IF p_opening_sol > 0 THEN
        INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance, version)
        VALUES (p_agent_id, p_wallet_address, sol_mint(), 'SOL', 0, trade.version)
        ON CONFLICT (wallet_address, token_address) DO NOTHING;
    END IF;
    WITH changed AS (
        UPDATE agent_balances AS b
        SET
            balance = after.balance,
            last_updated = now(),
            version = trade.version
        FROM (
            SELECT
                h.id,
                CASE WHEN h.token_address = sol_mint() THEN coalesce(p_opening_sol, 0) ELSE 0 END AS balance
            FROM agent_balances AS h
            WHERE h.wallet_address = p_wallet_address
        ) AS after
        WHERE b.id = after.id AND b.balance <> after.balance
        RETURNING b.*
    )

    SELECT
        array_agg(c.id ORDER BY c.token_address COLLATE "C"),
        array_agg(c.token_address ORDER BY c.token_address COLLATE "C"),
        array_agg(c.token_symbol ORDER BY c.token_address COLLATE "C"),
        array_agg(c.balance ORDER BY c.token_address COLLATE "C")
    INTO trade.balance_ids, trade.token_addresses, trade.token_symbols, trade.balances
    FROM changed AS c;

    trade.outcome := 'made';
    PERFORM finish_trade_v1(
        trade_id, trade_id, 'reset_wallet', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        closed_position_ids, closed_tokens, true, p_transaction_ids => transaction_ids
    );
END
$$;

REVOKE EXECUTE ON FUNCTION trade_reset_wallet_v1 FROM public;
