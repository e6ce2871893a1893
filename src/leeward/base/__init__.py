"""Ground floor of words: problems, units, Kubernetes objects. Imports nothing of ours."""
