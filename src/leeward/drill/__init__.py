"""Drills: break something on purpose under load, and measure what clients noticed.

``ledger``, ``measure``, ``judge`` and ``report`` are pure: attempts, records and rows in, numbers and sentences
out. ``load`` is the client, ``faults`` and ``podfaults`` (in the words of ``scene``) what is broken, ``run`` the
order of events. ``access`` says what a drill needs of a world, of its agents and its pods; ``agents`` is the agents'
side over mTLS, ``pods`` the pods' by the API servers.
"""
