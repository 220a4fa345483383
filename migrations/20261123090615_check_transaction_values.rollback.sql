ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_fees_check,
    DROP CONSTRAINT agent_transactions_prices_check,
    DROP CONSTRAINT agent_transactions_output_amount_check,
    DROP CONSTRAINT agent_transactions_input_amount_check;
