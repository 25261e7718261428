"""Runs of the fake trainer: many, and each of them quick."""

from faults import quick_disk  # noqa: F401
