"""The instance manager: the process that owns one PostgreSQL and brings it to the state last ordered.

``python -m leeward.instance.manager`` lets PostgreSQL accept writes only under a lease. Its decisions are in
``machine``, without I/O; ``postgres`` touches the server, ``walrelay`` carries WAL from the upstream, ``orphans`` saves
the committed writes that a new history does not have.
"""
