-- Why: a sale of all that remains and a write-off close a position: they delete it and insert its historical swap.
-- sale_price is all SOL received for the position, before fees, over all tokens bought; the price of the last sale stands
-- in its transaction. The profit in USD is the profit in SOL at the price of SOL that the last sale's value in USD implies;
-- it is NULL when that order carried none. See 20261124100000_trade_steps.
-- Locks: none on tables.
-- Rollback loses: nothing.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Of these signals those that exist; none of them can be deleted before this transaction ends. A signal that was deleted
-- meanwhile must not fail a sale: it is left out.
CREATE FUNCTION lock_signals_v1(p_signal_ids bigint[]) RETURNS bigint[]
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RETURN ARRAY(
        SELECT s.id
        FROM trading_signals AS s
        WHERE s.id = ANY(p_signal_ids)
        ORDER BY s.id
        FOR KEY SHARE
    );
END
$$;

-- Deletes the position and inserts its historical swap; closing is the sale or the write-off, which was recorded before.
CREATE FUNCTION close_position_v1(
    held agent_positions,
    purchase agent_transactions,
    closing agent_transactions,
    p_closed_at timestamptz,
    p_close_reason text
) RETURNS agent_historical_swaps
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    profit_sol numeric := held.realized_profit_sol + closing.realized_profit_sol;
    received_sol numeric;
    swap agent_historical_swaps;
BEGIN
    SELECT coalesce(sum(t.output_amount), 0) INTO received_sol
    FROM agent_transactions AS t
    WHERE t.id = ANY(held.take_profit_transaction_ids || closing.id);

    DELETE FROM agent_positions AS p WHERE p.id = held.id;
    INSERT INTO agent_historical_swaps AS s (
        agent_id,
        wallet_address,
        token_address,
        token_symbol,
        amount,
        purchase_price,
        sale_price,
        change_percent,
        profit_loss_usd,
        profit_loss_sol,
        purchase_time,
        sale_time,
        purchase_transaction_id,
        sale_transaction_id,
        signal_id,
        close_reason
    )
    VALUES (
        held.agent_id,
        held.wallet_address,
        held.token_address,
        held.token_symbol,
        held.purchase_amount,
        held.purchase_price,
        ratio(received_sol, held.purchase_amount, 18),
        coalesce(ratio(100 * profit_sol, nullif(held.purchase_price * held.purchase_amount, 0), 4), 0),
        ratio(profit_sol * nullif(closing.transaction_value_usd, 0), closing.output_amount, 8),
        profit_sol,
        purchase.transaction_time,
        p_closed_at,
        purchase.id,
        closing.id,
        purchase.signal_id,
        p_close_reason
    )
    RETURNING s.* INTO swap;
    RETURN swap;
END
$$;

REVOKE EXECUTE ON FUNCTION lock_signals_v1, close_position_v1 FROM public;
