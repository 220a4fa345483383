-- Positions without the profit of their partial sales.
--
-- Why: undoes 20260131150000_add_realized_profit_sol.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Loses: realized_profit_sol of open positions (their transactions remain).

ALTER TABLE agent_positions
DROP COLUMN realized_profit_sol;
