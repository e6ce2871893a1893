"""One PostgreSQL per region: the instance manager that owns it, and the client the agent drives it with.

The manager (``python -m leeward.adapters.postgres.manager``) converges PostgreSQL to the last order and lets
it accept writes only under a lease; ``client.InstanceManager`` implements ``leeward.ports.database.Database``.
"""
