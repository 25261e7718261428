"""The page: one HTML file that needs no network, with Plotly and the run's data in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
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


def write_report(result: Result, path: str | Path | None = None) -> Path:
    """Write one self-contained HTML page of a run.

    Args:
        result: A run, finished or not.
        path: The file; by default ``report.html`` in the run's folder. One that is there is
            replaced, and a folder that is not there is made.

    Returns:
        The file.

    Raises:
        JournalError: `run.json` is damaged or gone.
        StorageError: It cannot be written.
        MissingPackageError: Plotly is not installed.
    """
    target = Path(path) if path is not None else result.run_dir / NAME
    found = content(result, links=target.parent)
    with placed(target):
        write_whole(target, page(found["title"], found).encode())
    return target


def page(name: str, found: dict[str, Any] | None) -> str:
    """Return the page of a run.

    Args:
        name: Its title.
        found: What to show, as `content` returns it; None: the page asks its server for it.
    """
    script, style = _file("page.js"), _file("page.css")
    parts = {
        "TITLE": html.escape(name),
        "POLICY": html.escape(_policy(script, is_live=found is None)),
        "STYLE": style,
        "PLOTLY": _plotly(),
        "CONTENT": "" if found is None else _packed(json.dumps(found, allow_nan=False).encode()),
        "SCRIPT": script,
    }
    return "".join(
        parts[piece[2:-2]] if piece.startswith("{{") else piece for piece in _pieces("page.html")
    )


def _policy(script: str, is_live: bool) -> str:
    """Return what the browser may do: run this script and no other, ask nobody else."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rules = {
        "default-src": "'none'",
        # Plotly is unpacked and run by the script, and compiles its own drawing code.
        "script-src": f"'sha256-{digest}' 'unsafe-eval'",
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "'self'" if is_live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


@cache
def _file(name: str) -> str:
    return files("miha.report").joinpath(name).read_text(encoding="utf-8")


@cache
def _pieces(name: str) -> list[str]:
    """Return the template, cut at its ``{{NAME}}`` places."""
    pieces: list[str] = []
    rest = _file(name)
    while "{{" in rest:
        before, _, rest = rest.partition("{{")
        place, _, rest = rest.partition("}}")
        pieces += [before, "{{" + place + "}}"]
    return [*pieces, rest]


@cache
def _plotly() -> str:
    return _packed(need("plotly.offline", "plot").get_plotlyjs().encode())


def _packed(data: bytes) -> str:
    """Return bytes as the page unpacks them: a third of their size, and no tag can be in them."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode()
