"""What every SQL session of the instance manager sends in its startup packet. Pure.

A database's owner may set parameters for everyone who connects to it (ALTER DATABASE ... SET), and a role for itself.
The startup packet takes precedence over both, so each session sends a value for every parameter that changes what a
statement means, whether it may write, how long it may take or what its commit waits for. Parameters that only tune
(planner, memory, vacuum) are left alone: a test compares the list with PostgreSQL's own.

``search_path`` is ``pg_catalog, pg_temp``: no function, operator, cast or type of a database's owner is ever found by
an unqualified name, and a temporary table never before a catalog.
"""

from collections.abc import Mapping
from types import MappingProxyType

PINNED: Mapping[str, str] = MappingProxyType(
    {
        # Which objects a name means.
        "search_path": "pg_catalog, pg_temp",
        "role": "none",
        "row_security": "off",
        "transform_null_equals": "off",
        "restrict_nonsystem_relation_kind": "",
        "local_preload_libraries": "",
        # Whether it may write, and what a commit waits for.
        "default_transaction_read_only": "off",
        "default_transaction_isolation": "read committed",
        "default_transaction_deferrable": "off",
        "synchronous_commit": "on",
        # How long it may take: the manager's own deadlines apply, and a backend without its client ends.
        "statement_timeout": "0",
        "lock_timeout": "0",
        "transaction_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "client_connection_check_interval": "500ms",
        "wal_sender_timeout": "5s",
        # What is reported: a commit whose wait for the standbys was cancelled ends with a warning.
        "client_min_messages": "notice",
        "exit_on_error": "off",
        "stats_fetch_consistency": "none",
        # How values are read and written as text.
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "IntervalStyle": "postgres",
        "TimeZone": "UTC",
        "timezone_abbreviations": "Default",
        "extra_float_digits": "1",
        "bytea_output": "hex",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
        "xmlbinary": "base64",
        "xmloption": "content",
        "array_nulls": "on",
        "quote_all_identifiers": "off",
        "default_text_search_config": "pg_catalog.simple",
        # How statements are read.
        "standard_conforming_strings": "on",
        "backslash_quote": "safe_encoding",
        "escape_string_warning": "on",
        # What is created.
        "check_function_bodies": "on",
        "createrole_self_grant": "",
        "default_table_access_method": "heap",
        "default_tablespace": "",
        "temp_tablespaces": "",
        "password_encryption": "scram-sha-256",
        "scram_iterations": "4096",
        # Neither a compiler nor a parallel worker for statements that take a millisecond.
        "jit": "off",
        "debug_parallel_query": "off",
    }
)
"""What any role may set for its own session."""

PINNED_BY_SUPERUSER: Mapping[str, str] = MappingProxyType(
    {"session_replication_role": "origin", "event_triggers": "off", "session_preload_libraries": ""}
)
"""What only a superuser may set, and so only a superuser's session needs."""


def options(pinned: Mapping[str, str] = PINNED) -> str:
    """Return parameters as the ``options`` of a connection, spaces and backslashes escaped."""
    words = (f"{name}={value}".replace("\\", "\\\\").replace(" ", "\\ ") for name, value in pinned.items())
    return " ".join(f"-c {word}" for word in words)
