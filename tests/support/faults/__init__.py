"""Tools that cause a failure at a chosen moment."""
