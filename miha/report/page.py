"""The page: one HTML file that needs no network, with Plotly and the run's data in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miha.report.content import content
from miha.storage.disk import placed, write_whole
from miha.utils.optional import need

if TYPE_CHECKING:
    from miha.results.result import Result

NAME = "report.html"


def write_report(
    result: Result,
    path: str | Path | None = None,
    importance: bool = False,
) -> Path:
    """Write one self-contained HTML page of a run.

    Args:
        result: A run, finished or not.
        path: The file; by default ``report.html`` in the run's folder. One that is there is
            replaced, and a folder that is not there is made.
        importance: Whether to compute which hyperparameters matter, which takes seconds. It needs
            fifty clones; with fewer, the page says so.

    Returns:
        The file.

    Raises:
        JournalError: `run.json` is damaged or gone.
        StorageError: It cannot be written.
        MissingPackageError: Plotly is not installed.
    """
    target = result.run_dir / NAME
    if path is not None:
        target = Path(path)
    found = content(result, target.parent, importance)
    text = page(found["title"], found)
    with placed(target):
        write_whole(target, text.encode())
    return target


def page(name: str, found: dict[str, Any] | None) -> str:
    """Return the page of a run.

    Args:
        name: Its title.
        found: What to show, as `content` returns it; None: the page asks its server for it.
    """
    script = _file("page.js")
    data = ""
    if found is not None:
        text = json.dumps(found, allow_nan=False)
        data = _packed(text.encode())
    parts = {
        "TITLE": html.escape(name),
        "POLICY": html.escape(_policy(script, is_live=found is None)),
        "STYLE": _file("page.css"),
        "PLOTLY": _plotly(),
        "CONTENT": data,
        "SCRIPT": script,
    }
    # In one pass: a part may hold what looks like a place for another one.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _file("page.html"))


def _policy(script: str, is_live: bool) -> str:
    """Return what the browser may do: run this script and no other, ask nobody else."""
    digest = hashlib.sha256(script.encode()).digest()
    fingerprint = base64.b64encode(digest).decode()
    rules = {
        "default-src": "'none'",
        # Plotly is unpacked and run by the script, and compiles its own drawing code.
        "script-src": f"'sha256-{fingerprint}' 'unsafe-eval'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'" if is_live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(map(" ".join, rules.items()))


@cache
def _file(name: str) -> str:
    return files("miha.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _plotly() -> str:
    offline = need("plotly.offline", "plot")
    return _packed(offline.get_plotlyjs().encode())


def _packed(data: bytes) -> str:
    """Return bytes as the page unpacks them: a third of their size, and no tag can be in them."""
    # Without a time in it, the same run has the same page.
    compressed = gzip.compress(data, 9, mtime=0)
    return base64.b64encode(compressed).decode()
