-- Transactions without the take-profit mark.
--
-- Why: undoes 20260131160000_add_is_take_profit.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Loses: which sales were take-profits.

ALTER TABLE agent_transactions
DROP COLUMN is_take_profit;
