DROP FUNCTION record_prices_v1;

DROP FUNCTION price_changes(numeric, numeric, numeric, numeric, numeric, boolean);

DROP FUNCTION next_stop_loss(numeric, numeric, boolean);
