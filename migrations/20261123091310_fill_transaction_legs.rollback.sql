-- transactional: true
-- Nothing to undo: the numbers go with their column.

SELECT;
