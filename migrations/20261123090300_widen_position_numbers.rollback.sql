DO $$
BEGIN
    IF EXISTS (
        SELECT FROM agent_positions
        WHERE total_invested_sol <> trunc(total_invested_sol, 8)
            OR realized_profit_sol <> trunc(realized_profit_sol, 8)
            OR current_stop_loss_percentage <> trunc(current_stop_loss_percentage, 2)
    ) THEN
        RAISE EXCEPTION 'positions hold SOL below 1e-8 or stop-losses below 0.01 %%: rolling back would lose them';
    END IF;
END
$$;

ALTER TABLE agent_positions
    ALTER COLUMN purchase_price TYPE numeric(30, 18),
    ALTER COLUMN purchase_amount TYPE numeric(30, 18),
    ALTER COLUMN peak_price TYPE numeric(30, 18),
    ALTER COLUMN lowest_price TYPE numeric(30, 18),
    ALTER COLUMN remaining_amount TYPE numeric(30, 18),
    ALTER COLUMN moon_bag_amount TYPE numeric(30, 18),
    ALTER COLUMN total_invested_sol TYPE numeric(20, 8),
    ALTER COLUMN realized_profit_sol TYPE numeric(20, 8),
    ALTER COLUMN current_stop_loss_percentage TYPE numeric(5, 2);
