-- Why: a full sale accounts for what all earlier take-profits of the position brought. Summing transactions there
-- would read a snapshot from before the lock; kept on the position, the figure is on the row that is locked.
-- Locks: ACCESS EXCLUSIVE on agent_positions for the update (open positions only: small).
-- Rollback loses: the proceeds; migrating again derives them from profit and cost basis.
-- squawk-ignore-file constraint-missing-not-valid

ALTER TABLE agent_positions ADD COLUMN proceeds_sol numeric(38, 18) NOT NULL DEFAULT 0;

COMMENT ON COLUMN agent_positions.proceeds_sol IS 'SOL received for what was sold so far, net of fees.';

-- realised profit = proceeds - cost basis, cost basis = sold / bought x invested
UPDATE agent_positions
SET proceeds_sol = realized_profit_sol
    + ratio((purchase_amount - remaining_amount) * total_invested_sol, purchase_amount, 18)
WHERE remaining_amount < purchase_amount;

ALTER TABLE agent_positions
    ADD CONSTRAINT agent_positions_proceeds_sol_check CHECK (proceeds_sol <> 'NaN');
