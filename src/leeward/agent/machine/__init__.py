"""The agent without any I/O: events in, actions out. ``machine.Machine`` is put together of the other modules here.

Each part owns its share of the state; the simulator drives this very code.
"""
