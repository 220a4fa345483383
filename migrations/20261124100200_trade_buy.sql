-- Why: spends SOL, receives tokens and opens the position. purchase_price is the SOL spent over the tokens received,
-- without fees; total_invested_sol includes the fees. See 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- The position as a purchase opened it, for the first result of a repeated order; trade_buy_v1 inserts the same.
CREATE FUNCTION opened_position_v1(
    p_id uuid,
    purchase agent_transactions,
    p_version bigint,
    p_token_symbol text,
    p_stop_loss_percentage numeric,
    p_take_profit_levels bigint,
    OUT opened agent_positions
)
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    opened.id := p_id;
    opened.agent_id := purchase.agent_id;
    opened.wallet_address := purchase.wallet_address;
    opened.token_address := purchase.output_mint;
    opened.token_symbol := p_token_symbol;
    opened.purchase_transaction_id := purchase.id;
    opened.purchase_price := purchase.output_price;
    opened.purchase_amount := purchase.output_amount;
    opened.current_stop_loss_percentage := p_stop_loss_percentage;
    opened.peak_price := purchase.output_price;
    opened.lowest_price := purchase.output_price;
    opened.created_at := purchase.created_at;
    opened.updated_at := purchase.created_at;
    opened.dca_count := 0;
    opened.dca_transaction_ids := '{}';
    opened.total_invested_sol := purchase.input_amount
        + coalesce(purchase.protocol_fee_sol, 0) + coalesce(purchase.network_fee_sol, 0);
    opened.remaining_amount := purchase.output_amount;
    opened.take_profit_levels_hit := 0;
    opened.take_profit_transaction_ids := '{}';
    opened.moon_bag_activated := false;
    opened.realized_profit_sol := 0;
    opened.proceeds_sol := 0;
    opened.tp_batch_start_level := 0;
    opened.total_take_profit_levels := p_take_profit_levels;
    opened.version := p_version;
END
$$;

CREATE FUNCTION trade_buy_v1(
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
    p_stop_loss_percentage numeric,
    p_take_profit_levels bigint
) RETURNS trade_result_v1
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
    opened agent_positions;
    remaining numeric;
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome = 'duplicate' THEN
        SELECT r.position_ids[1] INTO opened.id FROM trade_requests AS r WHERE r.id = trade_id;
        trade.open_position := opened_position_v1(
            opened.id, trade.transaction, trade.version, p_token_symbol, p_stop_loss_percentage, p_take_profit_levels
        );
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    SELECT p.remaining_amount INTO remaining
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address AND p.token_address = p_token_address;
    IF FOUND THEN
        trade.outcome := 'position_exists';
        trade.details := jsonb_build_object('remaining', remaining);
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
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    INSERT INTO agent_positions AS p (
        agent_id,
        wallet_address,
        token_address,
        token_symbol,
        purchase_transaction_id,
        purchase_price,
        purchase_amount,
        current_stop_loss_percentage,
        peak_price,
        lowest_price,
        total_invested_sol,
        remaining_amount,
        total_take_profit_levels,
        updated_at,
        version
    )
    VALUES (
        p_agent_id,
        p_wallet_address,
        p_token_address,
        p_token_symbol,
        entry.id,
        entry.output_price,
        entry.output_amount,
        p_stop_loss_percentage,
        entry.output_price,
        entry.output_price,
        entry.input_amount + coalesce(entry.protocol_fee_sol, 0) + coalesce(entry.network_fee_sol, 0),
        entry.output_amount,
        p_take_profit_levels,
        now(),
        trade.version
    )
    RETURNING p.* INTO opened;
    trade.open_position := opened;
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'buy', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[opened.id], ARRAY[p_token_address]
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION opened_position_v1, trade_buy_v1 FROM public;
