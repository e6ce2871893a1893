"""Stand-ins for the world, exact in their semantics and free of real time."""
