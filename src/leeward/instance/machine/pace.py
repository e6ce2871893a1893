"""The instance manager's intervals and timeouts. Seconds."""

STEADY_S = 0.2
"""Between two observations of a PostgreSQL that complies with its order."""
SOON_S = 0.04
AT_ONCE_S = 0.02
LOOK_TWICE_S = 0.002
"""Between two observations that must agree."""
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
"""WAL counts as ending inside a record when replay has been idle this long, with the startup process waiting."""
PATIENCE_S = 1.0
"""A standby that has not streamed for this long compares histories: streaming may be impossible."""
CONSISTENCY_S = 20.0
"""Data without a state that is not consistent after this long may be a copy that lacks WAL of its source."""
FAILING_S = 40.0
"""Data without a state on which PostgreSQL ends whenever it is started for this long is unusable."""
ATTACHED_S = 300.0
"""So is data that is attached for so long, not consistent, and gets no WAL: recovery after a crash may take minutes."""
WRITE_STALL_S = 2.0
"""A primary that has not committed a write for this long does not count as accepting writes."""
LEASE_MIN_S = 0.05
"""With less of a lease than this, nothing is started."""
