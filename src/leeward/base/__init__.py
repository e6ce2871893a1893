"""The lowest layer: problems as users see them, and units parsed and printed once. Imports nothing of ours."""
