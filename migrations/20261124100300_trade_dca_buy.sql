-- Why: spends SOL, receives tokens and adds them to the open position. purchase_price becomes the total SOL invested,
-- fees included, over the total tokens bought. See 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION trade_dca_buy_v1(
    p_request_id uuid,
    p_content_digest bytea,
    p_agent_id uuid,
    p_wallet_address text,
    p_transaction_time timestamptz,
    p_expires_at timestamptz,
    p_transaction_value_usd numeric,
    p_signal_id bigint,
    p_transaction_hash text,
    p_transaction_leg bigint,
    p_protocol_fee_sol numeric,
    p_network_fee_sol numeric,
    p_slippage numeric,
    p_price_impact numeric,
    p_routes jsonb,
    p_swap_payload jsonb,
    p_token_address text,
    p_token_symbol text,
    p_sol_amount numeric,
    p_token_amount numeric,
    p_take_profit_levels bigint,
    p_expected_dca_count bigint
) RETURNS trade_result_v1
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    held agent_positions;
    entry agent_transactions;
    price numeric := ratio(p_sol_amount, p_token_amount, 18);
    spent_sol numeric := p_sol_amount + coalesce(p_protocol_fee_sol, 0) + coalesce(p_network_fee_sol, 0);
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.* INTO held
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        trade.outcome := 'position_not_found';
        RETURN trade;
    END IF;
    IF held.dca_count <> p_expected_dca_count THEN
        trade.outcome := 'stale_position';
        trade.details := jsonb_build_object(
            'counter', 'dca_count', 'expected', p_expected_dca_count, 'actual', held.dca_count
        );
        RETURN trade;
    END IF;

    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'SWAP', sol_mint(), 'SOL', p_sol_amount,
        p_token_address, p_token_symbol, p_token_amount, p_protocol_fee_sol, p_network_fee_sol
    );
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;

    INSERT INTO agent_transactions AS t (
        id,
        agent_id,
        wallet_address,
        transaction_type,
        transaction_value_usd,
        transaction_time,
        signal_id,
        routes,
        input_mint,
        input_symbol,
        input_amount,
        input_price,
        output_mint,
        output_symbol,
        output_amount,
        output_price,
        slippage,
        price_impact,
        is_dca,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'SWAP',
        p_transaction_value_usd,
        coalesce(p_transaction_time, now()),
        p_signal_id,
        p_routes,
        sol_mint(),
        'SOL',
        p_sol_amount,
        1,
        p_token_address,
        p_token_symbol,
        p_token_amount,
        ratio(p_sol_amount, p_token_amount, 18),
        p_slippage,
        p_price_impact,
        true,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    UPDATE agent_positions AS p
    SET
        purchase_price = ratio(p.total_invested_sol + spent_sol, p.purchase_amount + p_token_amount, 18),
        purchase_amount = p.purchase_amount + p_token_amount,
        total_invested_sol = p.total_invested_sol + spent_sol,
        remaining_amount = p.remaining_amount + p_token_amount,
        peak_price = greatest(p.peak_price, price),
        lowest_price = least(p.lowest_price, price),
        dca_count = p.dca_count + 1,
        dca_transaction_ids = array_append(p.dca_transaction_ids, trade_id),
        last_dca_time = entry.transaction_time,
        tp_batch_start_level = p.take_profit_levels_hit,
        total_take_profit_levels = coalesce(
            p.take_profit_levels_hit + p_take_profit_levels, p.total_take_profit_levels
        ),
        updated_at = now(),
        version = trade.version
    WHERE p.id = held.id
    RETURNING p.* INTO held;
    trade.open_position := held;
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'dca_buy', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], p_position => held
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION trade_dca_buy_v1 FROM public;
