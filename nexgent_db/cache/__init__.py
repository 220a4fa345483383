"""The format of the cache and its rules: keys, values, scripts. Nothing here talks to a server but ``sockets``."""
