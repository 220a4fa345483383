-- Keep what the exchange answered to a swap.
--
-- Why: a trade can be explained, and its fees re-computed, from the exchange's own answer.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Rollback loses: the recorded answers.

ALTER TABLE agent_transactions
ADD COLUMN swap_payload jsonb;
