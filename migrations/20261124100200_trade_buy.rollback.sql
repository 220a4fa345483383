DROP FUNCTION trade_buy_v1;
DROP FUNCTION opened_position_v1;
