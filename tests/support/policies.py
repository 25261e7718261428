"""Options of `Search`, `Budget` and `Execution` by their names alone."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from miha.options import Budget, Execution, Search

KINDS = {"search": Search, "budget": Budget, "execution": Execution}


def with_policies(**arguments: Any) -> dict[str, Any]:
    """Return arguments of `MIHA` in which options stand in their policies."""
    for name, kind in KINDS.items():
        options = {f.name: arguments.pop(f.name) for f in fields(kind) if f.name in arguments}
        if options:
            arguments[name] = kind(**options)
    return arguments
