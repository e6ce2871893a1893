"""Kubernetes objects as plain data: built, patched, layered by kustomize, written as YAML."""
