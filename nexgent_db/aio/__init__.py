"""The asynchronous data layer. ``make sync`` writes ``nexgent_db/sync`` from ``nexgent_db/aio``."""
