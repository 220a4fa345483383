ALTER TABLE trading_signals ALTER COLUMN updated_at DROP DEFAULT;
