"""Let mkdocstrings read arguments in groups: "Args (policies):" is a section with a title."""

from __future__ import annotations

import re
from typing import Any

import griffe

HEADING = re.compile(r"^(Args|Attributes) \((.+)\):$", re.M)


class GroupedArgs(griffe.Extension):
    """Writes the heading of a group of arguments as Griffe does: "Args: Arguments: policies"."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite one docstring, when its object has been read."""
        if obj.docstring is not None:
            obj.docstring.value = HEADING.sub(_titled, obj.docstring.value)


def _titled(heading: re.Match[str]) -> str:
    kind, group = heading.groups()
    # A title is no Markdown.
    title = group.replace("`", "")
    return f"{kind}: Arguments: {title}"
