DROP FUNCTION trade_write_off_v1;
