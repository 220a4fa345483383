LOCK TABLE agent_transactions, trading_signals IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF EXISTS (
        SELECT FROM agent_transactions
        WHERE fees <> trunc(fees, 8)
            OR protocol_fee_sol <> trunc(protocol_fee_sol, 8)
            OR network_fee_sol <> trunc(network_fee_sol, 8)
    ) THEN
        RAISE EXCEPTION 'fees below 1e-8 SOL are stored: rolling back would lose them';
    END IF;
END
$$;

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_signal_id_fkey,
    ALTER COLUMN signal_id TYPE integer,
    DROP CONSTRAINT agent_transactions_settled_dust_check,
    DROP CONSTRAINT agent_transactions_transaction_leg_check,
    DROP CONSTRAINT agent_transactions_fees_check,
    DROP CONSTRAINT agent_transactions_prices_check,
    DROP CONSTRAINT agent_transactions_output_amount_check,
    DROP CONSTRAINT agent_transactions_input_amount_check,
    DROP COLUMN transaction_leg,
    DROP COLUMN settled_dust,
    DROP COLUMN realized_profit_sol,
    ALTER COLUMN input_amount TYPE numeric(30, 18),
    ALTER COLUMN input_price TYPE numeric(30, 18),
    ALTER COLUMN output_amount TYPE numeric(30, 18),
    ALTER COLUMN output_price TYPE numeric(30, 18),
    ALTER COLUMN fees TYPE numeric(20, 8),
    ALTER COLUMN protocol_fee_sol TYPE numeric(20, 8),
    ALTER COLUMN network_fee_sol TYPE numeric(20, 8),
    ALTER COLUMN slippage TYPE numeric(10, 4),
    ALTER COLUMN price_impact TYPE numeric(10, 4),
    ADD CONSTRAINT agent_transactions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL;
