"""The disk, whose power never fails here."""

from faults import quick_disk  # noqa: F401
