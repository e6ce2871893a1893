"""Drills: break something on purpose under load, and measure what clients noticed.

``ledger``, ``measure``, ``judge`` and ``report`` are pure: attempts, records and rows in, numbers and sentences
out. ``load`` is the client, ``faults`` what is broken, ``run`` the order of events. ``access`` says what a drill
needs of a world and of its agents; ``agents`` is the agents' side over mTLS.
"""
