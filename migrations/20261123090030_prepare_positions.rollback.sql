CREATE INDEX agent_positions_purchase_transaction_id_idx ON agent_positions (purchase_transaction_id);
CREATE INDEX agent_positions_agent_id_wallet_address_idx ON agent_positions (agent_id, wallet_address);
CREATE INDEX agent_positions_agent_id_idx ON agent_positions (agent_id);

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_times_check,
    ALTER COLUMN id DROP DEFAULT,
    ALTER COLUMN updated_at DROP DEFAULT;
