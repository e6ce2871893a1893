"""Committed writes of a deposed primary that the new history does not have: found in its WAL, read as rows, kept.

``wal`` finds the transactions and the blocks they changed, ``tables`` reads their rows, ``save`` writes what is kept.
The files and how to bring rows back are in docs/concepts/orphans.md.
"""
