-- Why: in a partitioned agent_transactions an id, or a hash and leg, may be in any partition; agent_transaction_keys has
-- them all. nexgent-db partition apply sends this file together with the change of the table.

CREATE OR REPLACE FUNCTION transaction_taken_v1(
    p_trade_id uuid, p_wallet_address text, p_transaction_hash text, p_transaction_leg bigint
)
RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path FROM CURRENT
AS $$
DECLARE
    taken_by uuid;
BEGIN
    SELECT k.id INTO taken_by FROM agent_transaction_keys AS k WHERE k.id = p_trade_id;
    IF taken_by IS NULL AND p_transaction_hash IS NOT NULL THEN
        SELECT k.id INTO taken_by
        FROM agent_transaction_keys AS k
        WHERE k.wallet_address = p_wallet_address
            AND k.transaction_hash = p_transaction_hash
            AND k.transaction_leg = p_transaction_leg;
    END IF;
    RETURN taken_by;
END
$$;
