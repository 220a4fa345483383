DROP TABLE user_cells;
