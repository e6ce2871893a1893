"""What the decisions need from the world, as Protocols. The docstrings are the contracts."""
