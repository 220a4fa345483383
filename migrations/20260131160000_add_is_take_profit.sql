-- Tell take-profit sales from the others.
--
-- Why: a partial sale and a closing one are both swaps to SOL. Older transactions count as closing sales.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Rollback loses: which sales were take-profits.

ALTER TABLE agent_transactions
ADD COLUMN is_take_profit boolean NOT NULL DEFAULT FALSE;
