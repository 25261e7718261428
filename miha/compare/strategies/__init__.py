"""The strategies that are compared; each uses its library as that library's documents show."""

from __future__ import annotations
