"""The asynchronous data layer, and the source of the synchronous one: ``make sync`` writes ``nexgent_db/sync``."""
