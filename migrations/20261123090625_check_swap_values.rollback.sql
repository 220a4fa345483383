ALTER TABLE agent_historical_swaps
    DROP CONSTRAINT agent_historical_swaps_close_reason_check,
    DROP CONSTRAINT agent_historical_swaps_sale_time_check,
    DROP CONSTRAINT agent_historical_swaps_amount_check;
