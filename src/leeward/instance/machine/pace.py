"""How often the instance manager looks, and how long it waits. Seconds."""

STEADY_S = 0.2
"""Between two looks at a PostgreSQL that is what it was ordered to be."""
SOON_S = 0.04
AT_ONCE_S = 0.02
LOOK_TWICE_S = 0.002
"""Between two looks that must agree."""
RETRY_S = 0.3
"""Before histories are compared again."""
FOREIGN_S = 5.0
NEIGHBOURS_S = 1.0
"""Before regions are asked again whether they have data."""
STOP_TIMEOUT_S = 15.0
STOP_CALLED_OFF_S = 0.5
"""What is left of a stop that is called off: standbys that answer get the rest; one that is gone is not waited for."""
REJOIN_STOP_TIMEOUT_S = 10.0
REPLAY_IDLE_S = 0.3
"""So long must replay stand still, with the startup process waiting for more, to have ended inside a record."""
PATIENCE_S = 1.0
"""A standby that has not streamed for so long compares histories: it may never be able to."""
CONSISTENCY_S = 20.0
"""Data without a state that do not become consistent for so long may be a copy that lacks WAL of its source."""
WRITE_STALL_S = 2.0
"""A primary that has not committed a write for so long does not accept writes."""
LEASE_MIN_S = 0.05
"""Too little of a lease to begin anything with."""
