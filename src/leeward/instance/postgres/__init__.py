"""What touches PostgreSQL itself: its processes, files and sessions. Only the instance manager uses it."""
