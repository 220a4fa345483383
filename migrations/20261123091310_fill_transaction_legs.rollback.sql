-- transactional: true
-- Nothing to undo: the numbers are dropped with their column.

SELECT;
