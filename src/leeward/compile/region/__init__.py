"""What Leeward itself runs in a region: agent, gateway, quorum store, identities, settings."""
