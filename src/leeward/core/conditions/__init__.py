"""How an application stands, in Kubernetes' own form: states that last, each with its reason. Pure."""
