"""Ground floor of running: HTTP over mTLS, and calls of the kernel. Every process uses it."""
