"""The parts of :mod:`nexgent_db.migrations`: files, books, what to do with them, and how it is run."""
