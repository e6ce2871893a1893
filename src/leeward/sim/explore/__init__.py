"""Explore every interleaving of a small fleet: the shipped machines, an abstract PostgreSQL, bounded faults."""
