ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_purchase_transaction_id_fkey,
    ADD CONSTRAINT agent_positions_purchase_transaction_id_fkey
    FOREIGN KEY (purchase_transaction_id) REFERENCES agent_transactions (id)
    ON UPDATE CASCADE ON DELETE CASCADE;
