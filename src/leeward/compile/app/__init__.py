"""What an application runs in a region: service, database, sidecars, storage, quota, secrets."""
