"""The embedded Kubernetes of one region: an object store, its API server, controllers and a pod runner.

``main`` puts them together. ``store`` holds the objects and their history; ``registry`` admits changes;
``server`` speaks HTTP; ``controllers`` turn desired state into pods; ``runner`` turns pods into processes.
All of it is one thread and one event loop: what happens between two awaits is atomic.
"""
