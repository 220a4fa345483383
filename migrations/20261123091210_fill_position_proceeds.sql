-- transactional: false
-- Why: positions that were sold from before the column existed get their proceeds.
-- Locks: one row at a time, each for an instant: every update is a transaction of its own.
-- Rollback loses: nothing; it leaves the figures, which go with their column.
--
-- Can be run again: what has proceeds is left alone. What a service of the release before sells from now on is not in
-- this figure: let it end first.

DO $$
DECLARE
    sold record;
BEGIN
    -- Nothing is lost with the last of these commits: the migration's mark comes after them, and waits for the disk.
    PERFORM set_config('synchronous_commit', 'off', false);

    FOR sold IN SELECT id FROM agent_positions WHERE remaining_amount < purchase_amount AND proceeds_sol = 0
    LOOP
        -- realised profit = proceeds - cost basis, cost basis = sold / bought x invested
        UPDATE agent_positions
        SET proceeds_sol = realized_profit_sol
            + ratio((purchase_amount - remaining_amount) * total_invested_sol, purchase_amount, 18)
        WHERE id = sold.id AND remaining_amount < purchase_amount AND proceeds_sol = 0;
        COMMIT;
    END LOOP;
END
$$;
