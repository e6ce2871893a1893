"""The instance manager: the process that owns one PostgreSQL. Its decisions are in ``machine``, without I/O."""
