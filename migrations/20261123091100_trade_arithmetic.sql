-- Why: what a trade does to balances and how a quotient is rounded are said once, and used by the trades
-- (sql/trades.sql) and by the checks of the ledger (sql/checks.sql) alike.
-- Locks: none on tables.
-- Rollback loses: nothing.

CREATE FUNCTION sol_mint() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN 'So11111111111111111111111111111111111111112';

COMMENT ON FUNCTION sol_mint() IS 'How SOL is named as a token: the mint of wrapped SOL.';

-- PostgreSQL divides to about 16 significant digits, and again rounds when it stores: this rounds once, to the
-- last digit. (The last step multiplies: a product of numerics is exact, a quotient is not. What it multiplies by is
-- one of few digits, and so exact; PostgreSQL 15 takes power(10, -18) for 0.)
CREATE FUNCTION ratio(numerator numeric, denominator numeric, decimals integer) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN sign(numerator) * div(
    2 * abs(numerator) * power(10::numeric, decimals) + denominator,
    2 * denominator
) * (1 / power(10::numeric, decimals));

COMMENT ON FUNCTION ratio(numeric, numeric, integer) IS
'numerator / denominator (above zero), correctly rounded to so many decimals, halves away from zero.';

CREATE FUNCTION balance_change(
    token_address text,
    transaction_type "TransactionType",
    input_mint text,
    input_amount numeric,
    output_mint text,
    output_amount numeric,
    protocol_fee_sol numeric,
    network_fee_sol numeric,
    settled_dust numeric
) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN token_address IS NOT DISTINCT FROM input_mint
        THEN coalesce(CASE WHEN transaction_type = 'DEPOSIT' THEN input_amount ELSE -input_amount END, 0)
            + coalesce(settled_dust, 0)
    ELSE 0
END
+ CASE WHEN transaction_type = 'SWAP' AND token_address = output_mint THEN coalesce(output_amount, 0) ELSE 0 END
- CASE WHEN token_address = sol_mint() THEN coalesce(protocol_fee_sol, 0) + coalesce(network_fee_sol, 0) ELSE 0 END;

COMMENT ON FUNCTION
balance_change(text, "TransactionType", text, numeric, text, numeric, numeric, numeric, numeric) IS
'What a transaction does to its wallet''s balance of one token: a deposit adds the input, others take it; a swap adds the
output; fees come off SOL; settled dust is added to the input.';

CREATE FUNCTION transaction_effects(
    transaction_type "TransactionType",
    input_mint text,
    input_amount numeric,
    output_mint text,
    output_amount numeric,
    protocol_fee_sol numeric,
    network_fee_sol numeric,
    settled_dust numeric
) RETURNS TABLE (token_address text, change numeric)
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        token.address,
        balance_change(
            token.address, transaction_type, input_mint, input_amount, output_mint, output_amount,
            protocol_fee_sol, network_fee_sol, settled_dust
        ) AS change
    FROM (
        SELECT input_mint AS address WHERE coalesce(input_amount, settled_dust) IS NOT NULL
        UNION
        SELECT output_mint WHERE transaction_type = 'SWAP' AND output_amount IS NOT NULL
        UNION
        SELECT sol_mint() WHERE coalesce(protocol_fee_sol, network_fee_sol) IS NOT NULL
    ) AS token;
END;

COMMENT ON FUNCTION transaction_effects("TransactionType", text, numeric, text, numeric, numeric, numeric, numeric) IS
'What a transaction does to its wallet: the change of each token''s balance.';
