LOCK TABLE agent_positions IN ACCESS EXCLUSIVE MODE;

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

DROP INDEX agent_positions_lower_token_address_idx;
DROP INDEX agent_positions_token_address_agent_id_idx;

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_proceeds_sol_check,
    DROP CONSTRAINT agent_positions_counters_check,
    DROP CONSTRAINT agent_positions_moon_bag_amount_check,
    DROP CONSTRAINT agent_positions_remaining_amount_check,
    DROP CONSTRAINT agent_positions_purchase_check,
    DROP COLUMN proceeds_sol,
    ALTER COLUMN purchase_price TYPE numeric(30, 18),
    ALTER COLUMN purchase_amount TYPE numeric(30, 18),
    ALTER COLUMN peak_price TYPE numeric(30, 18),
    ALTER COLUMN lowest_price TYPE numeric(30, 18),
    ALTER COLUMN remaining_amount TYPE numeric(30, 18),
    ALTER COLUMN remaining_amount DROP NOT NULL,
    ALTER COLUMN dca_transaction_ids DROP DEFAULT,
    ALTER COLUMN dca_transaction_ids DROP NOT NULL,
    ALTER COLUMN dca_transaction_ids TYPE text[] USING dca_transaction_ids::text[],
    ALTER COLUMN dca_transaction_ids SET DEFAULT ARRAY[]::text[],
    ALTER COLUMN take_profit_transaction_ids DROP DEFAULT,
    ALTER COLUMN take_profit_transaction_ids TYPE text[] USING take_profit_transaction_ids::text[],
    ALTER COLUMN take_profit_transaction_ids SET DEFAULT '{}',
    ALTER COLUMN moon_bag_amount TYPE numeric(30, 18),
    ALTER COLUMN total_invested_sol TYPE numeric(20, 8),
    ALTER COLUMN realized_profit_sol TYPE numeric(20, 8),
    ALTER COLUMN current_stop_loss_percentage TYPE numeric(5, 2);

CREATE INDEX agent_positions_token_address_idx ON agent_positions (token_address);
