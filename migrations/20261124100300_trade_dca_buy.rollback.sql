DROP FUNCTION trade_dca_buy_v1;
