"""Writes the generated files: the synchronous layer, the protocols, tables and pictures of the documentation."""
