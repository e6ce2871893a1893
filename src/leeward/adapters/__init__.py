"""What the ports promise, done by real things: etcd, PostgreSQL, Envoy, Kubernetes. Strangers to one another."""
