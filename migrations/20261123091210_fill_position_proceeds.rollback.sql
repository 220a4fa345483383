-- transactional: true
-- Nothing to undo: the amounts are dropped with their column.

SELECT;
