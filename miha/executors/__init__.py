"""Executors: where, and how many at once, the clones of a population train."""
