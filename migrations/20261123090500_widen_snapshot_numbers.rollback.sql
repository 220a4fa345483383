LOCK TABLE agent_balance_snapshots IN ACCESS EXCLUSIVE MODE;

DO $$
BEGIN
    IF EXISTS (
        SELECT FROM agent_balance_snapshots
        WHERE portfolio_balance_sol <> trunc(portfolio_balance_sol, 8)
            OR sol_balance <> trunc(sol_balance, 8)
            OR positions_value_sol <> trunc(positions_value_sol, 8)
            OR unrealized_pnl_sol <> trunc(unrealized_pnl_sol, 8)
    ) THEN
        RAISE EXCEPTION 'snapshots hold SOL below 1e-8: rolling back would lose it';
    END IF;
END
$$;

ALTER TABLE agent_balance_snapshots
    ALTER COLUMN portfolio_balance_sol TYPE numeric(20, 8),
    ALTER COLUMN sol_balance TYPE numeric(20, 8),
    ALTER COLUMN positions_value_sol TYPE numeric(20, 8),
    ALTER COLUMN unrealized_pnl_sol TYPE numeric(20, 8);
