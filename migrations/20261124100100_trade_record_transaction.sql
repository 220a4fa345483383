-- Why: records a deposit, withdrawal, burn or plain swap: changes balances and inserts the transaction; changes no
-- position. See 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE FUNCTION trade_record_transaction_v1(
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
    p_transaction_type "TransactionType",
    p_destination_address text,
    p_input_mint text,
    p_input_symbol text,
    p_input_amount numeric,
    p_input_price numeric,
    p_output_mint text,
    p_output_symbol text,
    p_output_amount numeric,
    p_output_price numeric
) RETURNS trade_result_v1
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    trade_id uuid := trade_id_of(p_agent_id, p_request_id);
    trade trade_result_v1;
    entry agent_transactions;
BEGIN
    trade := begin_trade_v1(
        trade_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    trade := change_balances_v1(
        p_agent_id, p_wallet_address, p_transaction_type, p_input_mint, p_input_symbol, p_input_amount,
        p_output_mint, p_output_symbol, p_output_amount, p_protocol_fee_sol, p_network_fee_sol
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
        destination_address,
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
        p_transaction_type,
        p_transaction_value_usd,
        coalesce(p_transaction_time, now()),
        p_destination_address,
        p_signal_id,
        p_routes,
        p_input_mint,
        p_input_symbol,
        p_input_amount,
        p_input_price,
        p_output_mint,
        p_output_symbol,
        p_output_amount,
        p_output_price,
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
    PERFORM finish_trade_v1(
        trade_id, entry.id, lower(p_transaction_type::text COLLATE "C"), p_content_digest, p_agent_id,
        p_wallet_address, trade.version, trade.balance_ids, trade.balances, trade.token_addresses
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION trade_record_transaction_v1 FROM public;
