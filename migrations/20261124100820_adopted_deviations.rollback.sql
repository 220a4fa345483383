DROP TABLE adopted_deviations;
