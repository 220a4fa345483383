DELETE FROM adopted_deviations;
