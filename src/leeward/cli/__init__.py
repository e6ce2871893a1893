"""The command line: parse, call, render. Decisions live elsewhere.

``main`` builds the application out of the groups in ``commands/``, which hold names, options and help
and import nothing heavy; what a command does is imported when it runs, so that help is instant.
"""
