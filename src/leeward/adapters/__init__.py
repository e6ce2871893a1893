"""Implementations of the ports: etcd, PostgreSQL, Envoy, Kubernetes. They do not import one another."""
