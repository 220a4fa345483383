"""``python -m nexgent_db.cli``."""

from nexgent_db.cli.app import main

main()
