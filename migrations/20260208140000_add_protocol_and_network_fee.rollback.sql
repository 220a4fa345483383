-- Transactions without the two fees.
--
-- Why: undoes 20260208140000_add_protocol_and_network_fee.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; no rewrite.
-- Loses: the recorded protocol and network fees; balances can then no longer be derived from transactions.

ALTER TABLE agent_transactions
DROP COLUMN protocol_fee_sol,
DROP COLUMN network_fee_sol;
