-- Why: a purchase stays while its position is open: it is not deleted under it, and the position with it.
-- Locks: ACCESS EXCLUSIVE on agent_positions and SHARE ROW EXCLUSIVE on agent_transactions for an instant; catalog only.
-- Rollback loses: nothing but the rule.
-- squawk-ignore-file ban-drop-constraint

-- Autovacuum gives way to these locks, trades do not notice them. After them they wait half a second at the most.
LOCK TABLE agent_positions, agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_purchase_transaction_id_fkey,
    ADD CONSTRAINT agent_positions_purchase_transaction_id_fkey
    FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions (id)
    ON UPDATE CASCADE ON DELETE RESTRICT NOT VALID;
