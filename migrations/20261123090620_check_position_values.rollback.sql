ALTER TABLE agent_positions
    DROP CONSTRAINT agent_positions_counters_check,
    DROP CONSTRAINT agent_positions_moon_bag_amount_check,
    DROP CONSTRAINT agent_positions_remaining_amount_check,
    DROP CONSTRAINT agent_positions_purchase_check;
