LOCK TABLE agent_historical_swaps, trading_signals IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF EXISTS (
        SELECT FROM agent_historical_swaps
        WHERE profit_loss_sol <> trunc(profit_loss_sol, 8)
    ) THEN
        RAISE EXCEPTION 'profits below 1e-8 SOL are stored: rolling back would lose them';
    END IF;
    IF EXISTS (SELECT FROM agent_historical_swaps WHERE profit_loss_usd IS NULL) THEN
        RAISE EXCEPTION 'profits are stored whose value in USD is unknown: the old column has no NULL';
    END IF;
END
$$;

ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_signal_id_fkey,
    ALTER COLUMN signal_id TYPE integer,
    DROP CONSTRAINT agent_historical_swaps_close_reason_check,
    DROP CONSTRAINT agent_historical_swaps_sale_time_check,
    DROP CONSTRAINT agent_historical_swaps_amount_check,
    ALTER COLUMN profit_loss_usd SET NOT NULL,
    ALTER COLUMN amount TYPE numeric(30, 18),
    ALTER COLUMN purchase_price TYPE numeric(30, 18),
    ALTER COLUMN sale_price TYPE numeric(30, 18),
    ALTER COLUMN profit_loss_sol TYPE numeric(20, 8),
    ALTER COLUMN change_percent TYPE numeric(10, 4),
    ADD CONSTRAINT agent_historical_swaps_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL;
