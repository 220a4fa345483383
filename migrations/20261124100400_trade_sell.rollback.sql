DROP FUNCTION trade_sell_v1;
