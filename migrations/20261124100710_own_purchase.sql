-- Why: the purchase of a position is a transaction of its agent and wallet.
-- Locks: SHARE ROW EXCLUSIVE on agent_positions for an instant; catalog only. Reads go on.
-- Rollback loses: nothing but the rule.

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most.
LOCK TABLE agent_positions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '500ms';

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- A foreign key on agent, wallet and id would need one more index on the ledger. Trades open positions with the purchase
-- that they record.
CREATE FUNCTION require_own_purchase() RETURNS trigger
LANGUAGE plpgsql
SET search_path FROM CURRENT
AS $$
DECLARE
    purchase_wallet text := NEW.wallet_address;
BEGIN
    -- A changed address of the wallet reaches the position before its purchase: the old one does not exist any more.
    IF TG_OP = 'UPDATE' AND NOT EXISTS (
        SELECT FROM agent_wallets AS w WHERE w.wallet_address = OLD.wallet_address
    ) THEN
        purchase_wallet := OLD.wallet_address;
    END IF;
    PERFORM
    FROM agent_transactions AS t
    WHERE t.id = NEW.purchase_transaction_id
        AND t.agent_id = NEW.agent_id
        AND t.wallet_address IN (NEW.wallet_address, purchase_wallet);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'transaction % is no purchase of agent % and wallet %',
            NEW.purchase_transaction_id, NEW.agent_id, NEW.wallet_address
            USING ERRCODE = 'foreign_key_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME,
                CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER agent_positions_own_purchase
BEFORE INSERT OR UPDATE OF agent_id, wallet_address, purchase_transaction_id ON agent_positions
FOR EACH ROW
WHEN (current_setting('nexgent.trade', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION require_own_purchase();
