-- An open position knows what its partial sales earned.
--
-- Why: the closing trade's profit includes them, and the position is the row that the closing sale locks.
-- Locks: ACCESS EXCLUSIVE on agent_positions for an instant; no rewrite.
-- Rollback loses: the profit of partial sales of open positions (their transactions remain).

ALTER TABLE agent_positions
ADD COLUMN realized_profit_sol numeric(20, 8) NOT NULL DEFAULT 0;
