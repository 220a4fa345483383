-- Why: what a take-profit realised is known when it is made, from the position as it was; a later buy changes the cost
-- basis. Kept on the transaction, the profit of any span of time is a sum.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; catalog only, nothing is rewritten.
-- Rollback loses: the figures of the sales made so far.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

ALTER TABLE agent_transactions ADD COLUMN realized_profit_sol numeric(38, 18);

COMMENT ON COLUMN agent_transactions.realized_profit_sol IS
'What this sale added to the profit of its position, net of fees; NULL for other transactions, and for sales before this column.';
