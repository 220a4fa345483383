"""One repository for each file of named queries, under the same name."""
