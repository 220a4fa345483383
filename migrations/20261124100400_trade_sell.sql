-- Why: sells tokens of the open position for SOL. A take-profit reduces the position. A sale that leaves nothing, as
-- every full sale does, deletes the position and inserts its historical swap. Profit of a take-profit: SOL received, net
-- of fees, minus the cost basis (sold / bought x invested). Profit of a closed position: all SOL received for it, net of
-- fees, minus all SOL invested; the last sale realises the part that earlier take-profits have not realised. See
-- 20261124100000_trade_steps and 20261124100350_close_position.
--
-- up_to_dust: the position and the wallet may differ by dust, as those that were computed with doubles do: 1e-8 tokens, or
-- 1e-14 of the tokens bought when that is more (a double has 53 bits, so a billion tokens are off by 1e-7), but never more
-- than a billionth of what is sold. A full sale within dust of the position, and a take-profit that leaves at most a tenth
-- of the dust in the position, or of what the wallet really holds, close it. The balance becomes 0, and settled_dust says
-- by how much the sale settled it.
-- A moon bag that exceeds the rest by at most 1e-6, or by dust, is cut to it.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION trade_sell_v1(
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
    p_is_take_profit boolean,
    p_levels_hit bigint,
    p_moon_bag_amount numeric,
    p_expected_levels_hit bigint,
    p_close_reason text,
    p_up_to_dust boolean
) RETURNS trade_result_v1
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
    held agent_positions;
    purchase agent_transactions;
    dust numeric;
    left_over numeric;
    in_wallet numeric;
    moon_bag numeric;
    settled_dust numeric(38, 18);
    signals bigint[];
    sold_at timestamptz;
    received_sol numeric := p_sol_amount - coalesce(p_protocol_fee_sol, 0) - coalesce(p_network_fee_sol, 0);
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
    SELECT t.* INTO purchase FROM agent_transactions AS t WHERE t.id = held.purchase_transaction_id;
    left_over := held.remaining_amount - p_token_amount;
    dust := greatest(0.00000001, least(held.purchase_amount * 0.00000000000001, p_token_amount * 0.000000001));
    IF p_up_to_dust AND abs(left_over) <= dust THEN
        -- The wallet's lock keeps the balance as it is.
        SELECT b.balance INTO in_wallet
        FROM agent_balances AS b
        WHERE b.wallet_address = p_wallet_address AND b.token_address = p_token_address;
        IF NOT p_is_take_profit OR least(left_over, in_wallet - p_token_amount) <= dust / 10 THEN
            left_over := 0;
            IF abs(p_token_amount - in_wallet) <= dust THEN
                settled_dust := nullif(p_token_amount - in_wallet, 0);
            END IF;
        END IF;
    END IF;
    moon_bag := coalesce(p_moon_bag_amount, held.moon_bag_amount);
    IF moon_bag > left_over AND moon_bag <= left_over + greatest(0.000001, dust) THEN
        moon_bag := left_over;
    END IF;
    IF held.take_profit_levels_hit <> p_expected_levels_hit THEN
        trade.outcome := 'stale_position';
        trade.details := jsonb_build_object(
            'counter', 'take_profit_levels_hit',
            'expected', p_expected_levels_hit,
            'actual', held.take_profit_levels_hit
        );
    ELSIF left_over < 0 THEN
        trade.outcome := 'oversell';
        trade.details := jsonb_build_object('remaining', held.remaining_amount, 'requested', p_token_amount);
    ELSIF NOT p_is_take_profit AND left_over > 0 THEN
        trade.outcome := 'not_a_full_sale';
        trade.details := jsonb_build_object('remaining', held.remaining_amount, 'requested', p_token_amount);
    ELSIF p_is_take_profit AND moon_bag > left_over THEN
        trade.outcome := 'moon_bag_too_large';
        trade.details := jsonb_build_object('remaining', left_over, 'requested', moon_bag);
    ELSIF p_transaction_time < purchase.transaction_time THEN
        trade.outcome := 'sale_before_purchase';
        trade.details := jsonb_build_object('purchase_time', purchase.transaction_time, 'sale_time', p_transaction_time);
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    sold_at := coalesce(p_transaction_time, greatest(now(), purchase.transaction_time));
    signals := lock_signals_v1(ARRAY[p_signal_id, purchase.signal_id]);
    purchase.signal_id := CASE WHEN purchase.signal_id = ANY(signals) THEN purchase.signal_id END;
    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'SWAP', p_token_address, p_token_symbol, p_token_amount,
        sol_mint(), 'SOL', p_sol_amount, p_protocol_fee_sol, p_network_fee_sol, settled_dust
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
        is_take_profit,
        transaction_hash,
        transaction_leg,
        swap_payload,
        protocol_fee_sol,
        network_fee_sol,
        realized_profit_sol,
        updated_at,
        settled_dust
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'SWAP',
        p_transaction_value_usd,
        sold_at,
        CASE
            WHEN p_signal_id IS NULL THEN purchase.signal_id
            WHEN p_signal_id = ANY(signals) THEN p_signal_id
        END,
        p_routes,
        p_token_address,
        p_token_symbol,
        p_token_amount,
        ratio(p_sol_amount, p_token_amount, 18),
        sol_mint(),
        'SOL',
        p_sol_amount,
        1,
        p_slippage,
        p_price_impact,
        p_is_take_profit,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_swap_payload,
        p_protocol_fee_sol,
        p_network_fee_sol,
        CASE
            WHEN left_over = 0
                THEN held.proceeds_sol + received_sol - held.total_invested_sol - held.realized_profit_sol
            ELSE received_sol - ratio(p_token_amount * held.total_invested_sol, held.purchase_amount, 18)
        END,
        now(),
        settled_dust
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    IF left_over > 0 THEN
        UPDATE agent_positions AS p
        SET
            remaining_amount = left_over,
            proceeds_sol = p.proceeds_sol + received_sol,
            realized_profit_sol = p.realized_profit_sol + entry.realized_profit_sol,
            take_profit_levels_hit = p.take_profit_levels_hit + p_levels_hit,
            take_profit_transaction_ids = array_append(p.take_profit_transaction_ids, trade_id),
            last_take_profit_time = sold_at,
            moon_bag_activated = p.moon_bag_activated OR p_moon_bag_amount IS NOT NULL,
            moon_bag_amount = moon_bag,
            updated_at = now(),
            version = trade.version
        WHERE p.id = held.id
        RETURNING p.* INTO held;
        trade.open_position := held;
    ELSE
        trade.closed_position_id := held.id;
        trade.swap := close_position_v1(held, purchase, entry, sold_at, p_close_reason);
    END IF;
    PERFORM finish_trade_v1(
        trade_id, entry.id, CASE WHEN p_is_take_profit THEN 'take_profit' ELSE 'sell' END, p_content_digest,
        p_agent_id, p_wallet_address, trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], left_over = 0, trade.open_position
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION trade_sell_v1 FROM public;
