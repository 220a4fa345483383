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
    trade trade_result_v1;
    entry agent_transactions;
BEGIN
    trade := begin_trade_v1(
        p_request_id, p_content_digest, p_agent_id, p_wallet_address, p_transaction_hash, p_transaction_leg, p_expires_at
    );
    IF trade.outcome IS NOT NULL THEN
        RETURN trade;
    END IF;

    entry.id := p_request_id;
    entry.agent_id := p_agent_id;
    entry.wallet_address := p_wallet_address;
    entry.transaction_type := p_transaction_type;
    entry.transaction_value_usd := p_transaction_value_usd;
    entry.transaction_time := p_transaction_time;
    entry.destination_address := p_destination_address;
    entry.signal_id := p_signal_id;
    entry.routes := p_routes;
    entry.input_mint := p_input_mint;
    entry.input_symbol := p_input_symbol;
    entry.input_amount := p_input_amount;
    entry.input_price := p_input_price;
    entry.output_mint := p_output_mint;
    entry.output_symbol := p_output_symbol;
    entry.output_amount := p_output_amount;
    entry.output_price := p_output_price;
    entry.slippage := p_slippage;
    entry.price_impact := p_price_impact;
    entry.transaction_hash := p_transaction_hash;
    entry.transaction_leg := p_transaction_leg;
    entry.swap_payload := p_swap_payload;
    entry.protocol_fee_sol := p_protocol_fee_sol;
    entry.network_fee_sol := p_network_fee_sol;
    trade := record_trade_v1(entry);
    IF trade.outcome <> 'made' THEN
        RETURN trade;
    END IF;
    PERFORM finish_trade_v1(
        trade, p_request_id, lower(p_transaction_type::text COLLATE "C"), p_content_digest, p_agent_id, p_wallet_address
    );
    RETURN trade;
END
$$;

REVOKE EXECUTE ON FUNCTION trade_record_transaction_v1 FROM public;
