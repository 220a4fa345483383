DROP FUNCTION trade_reset_wallet_v1;
