DROP FUNCTION transaction_effects("TransactionType", text, numeric, text, numeric, numeric, numeric, numeric);
DROP FUNCTION balance_change(text, "TransactionType", text, numeric, text, numeric, numeric, numeric, numeric);

DROP FUNCTION ratio(numeric, numeric, integer);

DROP FUNCTION sol_mint();
