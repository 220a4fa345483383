DO $$
BEGIN
    IF EXISTS (
        SELECT FROM agent_historical_swaps
        WHERE profit_loss_sol <> trunc(profit_loss_sol, 8)
    ) THEN
        RAISE EXCEPTION 'profits below 1e-8 SOL are stored: rolling back would lose them';
    END IF;
END
$$;

ALTER TABLE agent_historical_swaps
    ALTER COLUMN amount TYPE numeric(30, 18),
    ALTER COLUMN purchase_price TYPE numeric(30, 18),
    ALTER COLUMN sale_price TYPE numeric(30, 18),
    ALTER COLUMN profit_loss_sol TYPE numeric(20, 8),
    ALTER COLUMN change_percent TYPE numeric(10, 4);
