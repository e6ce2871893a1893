"""The Cluster port over the Kubernetes REST API."""
