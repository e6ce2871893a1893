"""Names, options and help of the verbs, one module per group. Each has ``register(app)``."""
