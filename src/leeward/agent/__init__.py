"""The regional daemon: one loop, observe, decide, act, record.

``machine`` is that loop without any I/O: events in, actions out, so that the simulator drives the very code
that ships. ``runtime`` performs the actions; ``api`` serves people and the other agents.
"""
