DROP TRIGGER agent_transactions_wallet_required ON agent_transactions;

DROP FUNCTION require_wallet;

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_transaction_value_usd_check,
    DROP CONSTRAINT agent_transactions_sides_check;
