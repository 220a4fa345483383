-- Transactions without the exchange's answer.
--
-- Why: undoes 20251213231745_add_swap_payload.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Loses: every recorded swap_payload.

ALTER TABLE agent_transactions
DROP COLUMN swap_payload;
