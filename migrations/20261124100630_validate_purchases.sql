-- Why: the rule of the migration before holds for the positions that were there before it.
-- Locks: SHARE UPDATE EXCLUSIVE on agent_positions and ROW SHARE on agent_transactions while they are read; reads and
-- writes go on.
-- Rollback loses: nothing; the rule stays, unproven for old rows.

ALTER TABLE agent_positions VALIDATE CONSTRAINT agent_positions_purchase_transaction_id_fkey;
