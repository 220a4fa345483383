-- Why: real token amounts reach 10^13 and SOL has 9 decimals: (30,18) ends at 10^12, (20,8) loses a lamport, (10,4)
-- overflows at a 10,000-fold move. The table refuses what must never be stored; NaN counts as larger than every
-- number in PostgreSQL and would pass a bare `>= 0`, so each check names it. Zero is written 0.0, a numeric:
-- 0 is an integer, which PostgreSQL would convert again in every statement that writes a row.
-- An on-chain transaction is recorded once for each wallet, however often its news arrives. One of them can move several
-- amounts (the recorded history has up to four in one): its legs are numbered from 0. 20261123091310 numbers the existing
-- ones, 20261123091330 makes the rule hold.
-- What a take-profit realised is known when it is made, from the position as it was; a later buy changes the cost basis.
-- Kept on the transaction, the profit of any span of time is a sum.
-- Positions that were computed with doubles are off from their balance by dust. A sale may settle up to 1e-8 tokens of it:
-- settled_dust says how much it added to the balance of its input, so that a balance stays the sum of its transactions.
-- Ids of signals become bigint (20261123090540). The key to trading_signals is added NOT VALID again, under the same lock
-- that it is dropped: 20261123090900 reads the rows under one that lets trades go on.
-- Locks: ACCESS EXCLUSIVE on agent_transactions while it is rewritten (the fees change their scale), and on trading_signals,
-- to which the key refers.
-- Rollback loses: the numbers of the legs and the realised profits. It refuses to run while a value would not fit the old
-- columns exactly.
-- squawk-ignore-file ban-drop-constraint
-- squawk-ignore-file changing-column-type, constraint-missing-not-valid

-- Autovacuum gives way to this lock, trades do not notice it. After it they wait half a second at the most: a quarter
-- for each table.
LOCK TABLE trading_signals, agent_transactions IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL lock_timeout = '250ms';

ALTER TABLE agent_transactions
    DROP CONSTRAINT agent_transactions_signal_id_fkey,
    ALTER COLUMN signal_id TYPE bigint,
    ALTER COLUMN input_amount TYPE numeric(38, 18),
    ALTER COLUMN input_price TYPE numeric(38, 18),
    ALTER COLUMN output_amount TYPE numeric(38, 18),
    ALTER COLUMN output_price TYPE numeric(38, 18),
    ALTER COLUMN fees TYPE numeric(38, 18),
    ALTER COLUMN protocol_fee_sol TYPE numeric(38, 18),
    ALTER COLUMN network_fee_sol TYPE numeric(38, 18),
    ALTER COLUMN slippage TYPE numeric(20, 4),
    ALTER COLUMN price_impact TYPE numeric(20, 4),
    ADD COLUMN transaction_leg integer NOT NULL DEFAULT 0,
    ADD COLUMN realized_profit_sol numeric(38, 18),
    ADD COLUMN settled_dust numeric(38, 18),
    ADD CONSTRAINT agent_transactions_input_amount_check
    CHECK (input_amount > 0.0 AND input_amount <> 'NaN'),
    ADD CONSTRAINT agent_transactions_output_amount_check
    CHECK (output_amount > 0.0 AND output_amount <> 'NaN'),
    ADD CONSTRAINT agent_transactions_prices_check
    CHECK (input_price >= 0.0 AND input_price <> 'NaN' AND output_price >= 0.0 AND output_price <> 'NaN'),
    ADD CONSTRAINT agent_transactions_fees_check
    CHECK (
        fees >= 0.0 AND fees <> 'NaN'
        AND protocol_fee_sol >= 0.0 AND protocol_fee_sol <> 'NaN'
        AND network_fee_sol >= 0.0 AND network_fee_sol <> 'NaN'
    ),
    ADD CONSTRAINT agent_transactions_transaction_leg_check
    CHECK (transaction_leg >= 0),
    ADD CONSTRAINT agent_transactions_settled_dust_check
    CHECK (abs(settled_dust) <= greatest(0.00000001, input_amount * 0.000000001) AND settled_dust <> 0.0),
    ADD CONSTRAINT agent_transactions_signal_id_fkey
    FOREIGN KEY (signal_id) REFERENCES trading_signals (id)
    ON UPDATE CASCADE ON DELETE SET NULL NOT VALID;

COMMENT ON COLUMN agent_transactions.transaction_leg IS 'Which movement of the on-chain transaction this is, from 0.';

COMMENT ON COLUMN agent_transactions.realized_profit_sol IS
'What this sale or write-off added to the profit of its position, net of fees; NULL for other transactions.';

COMMENT ON COLUMN agent_transactions.settled_dust IS
'What a sale added to the balance of its input to settle a difference between position and balance; NULL mostly.';
