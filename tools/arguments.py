"""Write docs/arguments.md from the docstrings of what a user calls.

python tools/arguments.py           # write the file
python tools/arguments.py --check   # fail where it is not what the docstrings say
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import miha  # noqa: E402  # the package of this folder, installed or not

TARGET = ROOT / "docs" / "arguments.md"
CALLS = ("MIHA", "Search", "Budget", "Execution", "SearchSpace", "LevelAndSlope", "RayExecutor")
INTRODUCTION = """# Arguments

Made from the docstrings by `tools/arguments.py`. The letters are the method's own.
[The search](search.md) says how its parts work, [the glossary](glossary.md) what its words mean.
"""


def arguments(docstring: str) -> Iterator[tuple[str, str]]:
    """Yield name and meaning of each argument that a docstring describes."""
    # A long list is in groups: "Args (policies):".
    heading = r"^(?:Args|Attributes)(?: \([^)]*\))?:\n(.*?)(?=^\S|\Z)"
    sections = re.findall(heading, docstring, re.M | re.S)
    entries = re.split(r"^    (?=\w+: )", "\n".join(sections), flags=re.M)
    for entry in entries:
        name, _, text = entry.partition(": ")
        if text:
            yield name, " ".join(text.split()).replace("``", "`")


def default(call: Any, name: str) -> str:
    """Return the default of an argument as a user writes it; nothing where it must be given."""
    value = inspect.signature(call).parameters[name].default
    if value is inspect.Parameter.empty:
        return ""
    if type(value).__module__ == "miha.options":
        return f"`miha.{type(value).__name__}()`"
    if isinstance(value, (list, tuple)) and len(value) > 2:
        return ", ".join(f"`{_shown(item)}`" for item in value)
    return f"`{_shown(value)}`"


def _shown(value: Any) -> str:
    """Return a value as it stands in a program."""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def table(name: str) -> str:
    """Return the section of one call."""
    call = getattr(miha, name)
    docstring = inspect.cleandoc(call.__doc__ or "")
    rows = [
        f"| `{argument}` | {default(call, argument)} | {text} |"
        for argument, text in arguments(docstring)
    ]
    head = ["| argument | default | meaning |", "|---|---|---|"]
    return "\n".join([f"\n## `miha.{name}`\n", docstring.splitlines()[0], "", *head, *rows, ""])


def document() -> str:
    """Return the whole document."""
    return INTRODUCTION + "".join(map(table, CALLS))


def main() -> int:
    """Write or check the document."""
    text = document()
    if "--check" in sys.argv:
        return int(TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
