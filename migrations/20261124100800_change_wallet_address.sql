-- Why: a wallet takes another address, and its whole history follows: positions, balances, snapshots, ledger and
-- historical swaps by their foreign keys, the stored orders by this function. Services may not update agent_wallets;
-- they may execute this function, which checks that its caller may trade with the wallet.
-- Locks: none on tables.
-- Rollback loses: nothing. Changed addresses stay.

SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Returns the wallet with its new address, or no row when the agent has no such wallet.
CREATE FUNCTION change_wallet_address_v1(p_agent_id uuid, p_wallet_address text, p_new_address text)
RETURNS SETOF agent_wallets
LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
AS $$
DECLARE
    wallet agent_wallets;
BEGIN
    -- The locks of a trade, in its order. The wallet's is the strongest at once: a weaker one, raised by the UPDATE,
    -- would deadlock with a writer of snapshots that trades afterwards.
    SELECT w.* INTO wallet
    FROM agents AS a
    JOIN agent_wallets AS w ON w.agent_id = a.id
    WHERE a.id = p_agent_id AND w.wallet_address = p_wallet_address AND caller_acts_for(a.user_id)
    FOR KEY SHARE OF a
    FOR UPDATE OF w;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_new_address = p_wallet_address THEN
        RETURN NEXT wallet;
        RETURN;
    END IF;
    PERFORM
    FROM agent_positions AS p
    WHERE p.agent_id = p_agent_id AND p.wallet_address = p_wallet_address
    ORDER BY p.token_address
    FOR UPDATE;
    PERFORM
    FROM agent_balances AS b
    WHERE b.wallet_address = p_wallet_address
    ORDER BY b.token_address
    FOR UPDATE;

    PERFORM set_config('nexgent.changed_wallet', p_wallet_address, true);
    UPDATE agent_wallets AS w
    SET
        wallet_address = p_new_address,
        updated_at = now()
    WHERE w.wallet_address = p_wallet_address
    RETURNING w.* INTO wallet;
    PERFORM set_config('nexgent.changed_wallet', '', true);

    -- The stored orders have no foreign key. Each has the id of its transaction, except for the orders of resets.
    UPDATE trade_requests AS r
    SET wallet_address = p_new_address
    FROM agent_transactions AS t
    WHERE t.agent_id = p_agent_id
        AND t.wallet_address = p_new_address
        AND r.id = t.id
        AND r.wallet_address = p_wallet_address;
    UPDATE trade_requests AS r
    SET wallet_address = p_new_address
    WHERE r.agent_id = p_agent_id AND r.wallet_address = p_wallet_address AND r.operation = 'reset_wallet';
    RETURN NEXT wallet;
END
$$;

COMMENT ON FUNCTION change_wallet_address_v1(uuid, text, text) IS
'Gives a wallet another address; every row that names the old one follows.';

REVOKE EXECUTE ON FUNCTION change_wallet_address_v1 FROM public;
