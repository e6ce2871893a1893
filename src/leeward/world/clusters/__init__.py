"""A region with a real Kubernetes cluster of one node: the same programs as in production, as children of one pid."""
