-- PostgreSQL cannot un-validate a check: each is dropped and added as it was.

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_transaction_leg_check,
    ADD CONSTRAINT agent_transactions_transaction_leg_check CHECK (transaction_leg >= 0) NOT VALID;

ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_proceeds_sol_check,
    ADD CONSTRAINT agent_positions_proceeds_sol_check CHECK (proceeds_sol <> 'NaN') NOT VALID;
