"""Print the measures of the house, and fail where one is over its limit.

    python tools/measure.py              # the whole package
    python tools/measure.py miha/search  # one room, without the limits of the whole

A code line is a line with at least one token that is no string and no comment. A function's
length is that of its body, without its docstring.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "miha"
DENSE = 20
SILENT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.COMMENT,
    tokenize.ENDMARKER,
    tokenize.STRING,
}


@dataclass
class Measures:
    """What is counted over some files."""

    files: int = 0
    lines: int = 0
    comments: int = 0
    tokens: list[int] = field(default_factory=list)
    bodies: list[tuple[int, str]] = field(default_factory=list)
    arguments: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Count one file."""
        text = path.read_text(encoding="utf-8")
        self.files += 1
        self.lines += len(text.splitlines())
        self._add_tokens(text)
        self._add_functions(ast.parse(text), path)

    def _add_tokens(self, text: str) -> None:
        on_line: Counter[int] = Counter()
        commented: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and not token.string.startswith("# noqa"):
                commented.add(token.start[0])
            if token.type not in SILENT:
                on_line[token.start[0]] += 1
        self.tokens += on_line.values()
        self.comments += len(commented - set(on_line))

    def _add_functions(self, tree: ast.Module, path: Path) -> None:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
                self.bodies.append((_length(node), name))
                self.arguments.append((_arguments(node), name))


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    begin = (first.end_lineno or 0) + 1 if has_docstring else first.lineno
    return max(0, (node.end_lineno or 0) - begin + 1)


def _arguments(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def imports(path: Path, modules: set[str]) -> Iterator[str]:
    """Yield the modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules else node.module


def circles(package: Path) -> list[list[str]]:
    """Return the groups of modules that import each other, at whatever depth."""
    paths = {_module(path): path for path in package.rglob("*.py")}
    # The package's own names are loaded when they are first used: no module imports it.
    paths.pop(package.name)
    graph = {name: {*imports(path, {*paths})} & {*paths} for name, path in paths.items()}
    reach = {name: _reachable(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach[other])) for name in graph
    }
    return [list(group) for group in sorted(groups) if group]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _reachable(graph: dict[str, set[str]], name: str) -> set[str]:
    found: set[str] = set()
    waiting = [*graph[name]]
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting += graph[here]
    return found


def measure(folder: Path) -> Measures:
    """Count all Python files of a folder, or one file."""
    measures = Measures()
    for path in [folder] if folder.is_file() else sorted(folder.rglob("*.py")):
        measures.add(path)
    return measures


def rows(measures: Measures) -> list[tuple[str, float, str, float | None]]:
    """Return name, value, and the limit of each measure, with the side it is on."""
    code = len(measures.tokens)
    lengths = [length for length, _ in measures.bodies]
    longest, where = max(measures.bodies, default=(0, ""))
    most, call = max(measures.arguments, default=(0, ""))
    dense = sum(count >= DENSE for count in measures.tokens)
    return [
        ("lines", measures.lines, "", None),
        ("code lines", code, "", None),
        ("tokens a code line", sum(measures.tokens) / code, "<=", 7.5),
        (f"% of lines with {DENSE} tokens and more", 100 * dense / code, "<=", 4.0),
        ("% comment lines, of code lines", 100 * measures.comments / code, ">=", 2.5),
        ("median lines of a function", median(lengths), "<=", 9),
        (f"longest function: {where}", longest, "<=", 60),
        (f"most arguments: {call}", most, "<=", 30),
    ]


def of_the_whole() -> list[tuple[str, float, str, float | None]]:
    """Return what is measured of the package as a whole."""
    top = [path for path in PACKAGE.iterdir() if path.is_file()]
    found = circles(PACKAGE)
    for circle in found:
        print("import circle:", ", ".join(circle))
    return [
        ("files at the top of the package", len(top), "<=", 12),
        ("import circles", len(found), "<=", 0),
    ]


def main() -> int:
    """Print the table; return how many measures are over their limit."""
    folders = [Path(name).resolve() for name in sys.argv[1:]] or [PACKAGE]
    is_whole = folders == [PACKAGE]
    failed = 0
    for folder in folders:
        print(folder.relative_to(ROOT))
        for name, value, side, limit in rows(measure(folder)) + of_the_whole() * is_whole:
            is_over = limit is not None and (value > limit if side == "<=" else value < limit)
            failed += is_over
            shown = "" if limit is None else f"  {side} {limit:g}{'  OVER' * is_over}"
            print(f"  {name:60} {value:10.2f}{shown}")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
