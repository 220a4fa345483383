-- Why: the checks on proceeds and legs hold for the rows that were there before them.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_positions and agent_transactions while they are read; reads and writes go on.
-- Rollback loses: nothing; the checks stay, unproven for old rows.

ALTER TABLE agent_positions VALIDATE CONSTRAINT agent_positions_proceeds_sol_check;

ALTER TABLE agent_transactions VALIDATE CONSTRAINT agent_transactions_transaction_leg_check;
