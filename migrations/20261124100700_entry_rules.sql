-- Why: the type of a ledger entry decides its form: a deposit, a withdrawal and a burn have an input, a swap has both
-- sides; values in USD are not negative; every entry has a wallet.
-- Entries of an adopted database stay as they are.
-- Locks: ACCESS EXCLUSIVE on agent_transactions for an instant; catalog only, nothing is read.
-- Rollback loses: nothing but the rules.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

ALTER TABLE agent_transactions
    ADD CONSTRAINT agent_transactions_sides_check CHECK (
        input_mint IS NOT NULL
        AND input_amount IS NOT NULL
        AND (transaction_type = 'SWAP') = (output_mint IS NOT NULL)
        AND (transaction_type = 'SWAP') = (output_amount IS NOT NULL)
    ) NOT VALID,
    ADD CONSTRAINT agent_transactions_transaction_value_usd_check CHECK (
        transaction_value_usd >= 0.0 AND transaction_value_usd <> 'NaN'
    ) NOT VALID;

-- Not a CHECK: an adopted entry without a wallet must let go of its signal, which is an update.
CREATE FUNCTION require_wallet() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
BEGIN
    RAISE EXCEPTION 'an entry of the ledger needs a wallet'
        USING ERRCODE = 'not_null_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'wallet_address';
END
$$;

CREATE TRIGGER agent_transactions_wallet_required
BEFORE INSERT ON agent_transactions
FOR EACH ROW
WHEN (NEW.wallet_address IS NULL) -- noqa: CP02
EXECUTE FUNCTION require_wallet();
