"""The WAL relay: the WAL receiver's way to its upstream, which fetches ahead so that a round trip costs less."""
