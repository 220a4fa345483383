-- The two fees of a swap, apart.
--
-- Why: protocol and network fees come off the SOL balance in both directions and are reported separately.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Rollback loses: the recorded fees.

ALTER TABLE agent_transactions
ADD COLUMN protocol_fee_sol numeric(20, 8),
ADD COLUMN network_fee_sol numeric(20, 8);
