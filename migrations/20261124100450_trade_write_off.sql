-- Why: writes off a position whose token is worthless: burns what the wallet holds of it and closes the position with what
-- was received before. The historical swap shows the loss. See 20261124100000_trade_steps and 20261124100350_close_position.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION trade_write_off_v1(
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
    p_token_address text,
    p_token_symbol text
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
    in_wallet numeric;
    signals bigint[];
    burned_at timestamptz;
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
    -- The wallet's lock keeps the balance as it is.
    SELECT b.balance INTO in_wallet
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address AND b.token_address = p_token_address;
    IF p_transaction_time < purchase.transaction_time THEN
        trade.outcome := 'sale_before_purchase';
        trade.details := jsonb_build_object('purchase_time', purchase.transaction_time, 'sale_time', p_transaction_time);
    ELSIF coalesce(in_wallet, 0) = 0 THEN
        trade.outcome := 'insufficient_balance';
        trade.details := jsonb_build_object(
            'token_address', p_token_address, 'balance', 0, 'required', held.remaining_amount
        );
    END IF;
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    burned_at := coalesce(p_transaction_time, greatest(now(), purchase.transaction_time));
    signals := lock_signals_v1(ARRAY[p_signal_id, purchase.signal_id]);
    purchase.signal_id := CASE WHEN purchase.signal_id = ANY(signals) THEN purchase.signal_id END;
    trade := change_balances_v1(
        p_agent_id, p_wallet_address, 'BURN', p_token_address, p_token_symbol, in_wallet,
        NULL, NULL, NULL, p_protocol_fee_sol, p_network_fee_sol
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
        input_mint,
        input_symbol,
        input_amount,
        transaction_hash,
        transaction_leg,
        protocol_fee_sol,
        network_fee_sol,
        realized_profit_sol,
        updated_at
    )
    VALUES (
        trade_id,
        p_agent_id,
        p_wallet_address,
        'BURN',
        p_transaction_value_usd,
        burned_at,
        CASE
            WHEN p_signal_id IS NULL THEN purchase.signal_id
            WHEN p_signal_id = ANY(signals) THEN p_signal_id
        END,
        p_token_address,
        p_token_symbol,
        in_wallet,
        p_transaction_hash,
        coalesce(p_transaction_leg, 0),
        p_protocol_fee_sol,
        p_network_fee_sol,
        held.proceeds_sol - coalesce(p_protocol_fee_sol, 0) - coalesce(p_network_fee_sol, 0)
            - held.total_invested_sol - held.realized_profit_sol,
        now()
    )
    RETURNING t.* INTO entry;
    trade.transaction := entry;

    trade.closed_position_id := held.id;
    trade.swap := close_position_v1(held, purchase, entry, burned_at, 'write_off');
    PERFORM finish_trade_v1(
        trade_id, entry.id, 'write_off', p_content_digest, p_agent_id, p_wallet_address,
        trade.version, trade.balance_ids, trade.balances, trade.token_addresses,
        ARRAY[held.id], ARRAY[p_token_address], true
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION trade_write_off_v1 FROM public;
