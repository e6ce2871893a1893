"""Shared runtime code: HTTP over mTLS, and system calls. Every process uses it."""
