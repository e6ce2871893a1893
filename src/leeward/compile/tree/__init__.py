"""The GitOps tree: its files, its first page and its diagram."""
