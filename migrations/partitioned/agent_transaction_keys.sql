-- Why: a partitioned agent_transactions cannot keep what must be unique over all partitions: the id, and the hash and leg
-- of a wallet's on-chain transaction. This table keeps them, a narrow row for each transaction, and it is what foreign keys
-- to a transaction refer to. The stored order of a wallet's reset, which has no transaction, has its id here as well.
-- nexgent-db partition apply sends this file.
-- Locks: SHARE ROW EXCLUSIVE on agent_transactions and trade_requests for an instant.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

CREATE TABLE agent_transaction_keys (
    id uuid NOT NULL,
    wallet_address varchar(44),
    transaction_hash varchar(255),
    transaction_leg integer,
    CONSTRAINT agent_transaction_keys_pkey PRIMARY KEY (id)
);

-- Trades look for the hash and leg of an order.
CREATE UNIQUE INDEX agent_transaction_keys_hash_key
ON agent_transaction_keys (wallet_address, transaction_hash, transaction_leg)
WHERE transaction_hash IS NOT NULL;

CREATE FUNCTION keep_transaction_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO agent_transaction_keys (id, wallet_address, transaction_hash, transaction_leg)
        VALUES (
            NEW.id,
            CASE WHEN NEW.transaction_hash IS NOT NULL THEN NEW.wallet_address END,
            NEW.transaction_hash,
            CASE WHEN NEW.transaction_hash IS NOT NULL THEN NEW.transaction_leg END
        );
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        UPDATE agent_transaction_keys AS k
        SET wallet_address = NEW.wallet_address
        WHERE k.id = NEW.id AND k.transaction_hash IS NOT NULL;
    ELSE
        DELETE FROM agent_transaction_keys AS k WHERE k.id = OLD.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION keep_request_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO agent_transaction_keys (id) VALUES (NEW.id);
        RETURN NEW;
    END IF;
    DELETE FROM agent_transaction_keys AS k WHERE k.id = OLD.id;
    RETURN NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION keep_transaction_key, keep_request_key FROM public;

CREATE TRIGGER agent_transactions_key_kept
BEFORE INSERT ON agent_transactions
FOR EACH ROW EXECUTE FUNCTION keep_transaction_key();

CREATE TRIGGER agent_transactions_key_follows
AFTER DELETE OR UPDATE OF wallet_address ON agent_transactions
FOR EACH ROW EXECUTE FUNCTION keep_transaction_key();

CREATE TRIGGER trade_requests_key_kept
BEFORE INSERT ON trade_requests
FOR EACH ROW WHEN (new.operation = 'reset_wallet') EXECUTE FUNCTION keep_request_key();

CREATE TRIGGER trade_requests_key_follows
AFTER DELETE ON trade_requests
FOR EACH ROW WHEN (old.operation = 'reset_wallet') EXECUTE FUNCTION keep_request_key();
