"""A service with price alerts: the worked example of nexgent-db."""
