ALTER TABLE agents DROP CONSTRAINT agents_trading_mode_check;
