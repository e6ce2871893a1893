"""Drills: inject a fault under load, and measure the impact on clients.

``ledger``, ``measure``, ``judge`` and ``report`` are pure: attempts, records and rows in, numbers and sentences
out. ``load`` is the client; ``faults`` and ``podfaults`` are the faults, built from ``scene``; ``run`` is the order of
events. ``access`` defines what a drill needs of a world, of its agents and its pods; ``agents`` implements it for
agents over mTLS, ``pods`` for pods over the API servers.
"""
