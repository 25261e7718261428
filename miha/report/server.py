"""`miha watch`: the page of a run, live, for this computer only."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from miha.archive.members import read_file
from miha.errors import MihaError
from miha.report.content import FIGURES, ON_DEMAND, Table, figure_of, outline
from miha.report.live import read_live
from miha.report.page import page
from miha.results.reader import RunReader, load_run
from miha.storage.folder import RUNNING, RunFolder
from miha.storage.journal import JOURNAL
from miha.storage.lock import is_locked

if TYPE_CHECKING:
    from miha.results.result import Result

# The address of this computer for itself: no other one can connect to it.
HOST = "127.0.0.1"

# An answer is never an old one, and no other page may use it.
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

SHARE = 0.035
"""Of one processor core, what a watched run may take on average: the run itself needs the rest."""

BURST = 0.5
"""Seconds of a processor core that may be taken at once, after a time without news."""

MOST_TABLES = 8
"""Versions of the table that are remembered for pages that show them."""

SHARE_OF_TEXT = 0.6
"""What of that the text and the table may take; figures get the rest."""


class Allowance:
    """How much of a processor core may be taken: it grows with the time that passes.

    Args:
        share: Of one core.
        burst: Seconds that it grows to at most, and begins with.
    """

    def __init__(self, share: float, burst: float) -> None:
        self._share = share
        self._burst = burst
        self._seconds = burst
        self._time = time.monotonic()

    @property
    def is_there(self) -> bool:
        """Whether something may be taken now."""
        now = time.monotonic()
        grown = self._seconds + self._share * (now - self._time)
        self._seconds = min(self._burst, grown)
        self._time = now
        return self._seconds > 0

    @contextlib.contextmanager
    def spent(self) -> Iterator[None]:
        """Take what the block takes."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._seconds -= time.thread_time() - began


class Watched:
    """A run's folder that is read again when it has changed; it need not be there yet.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # What is read, and the drawing of figures: news do not wait for a figure.
        self._lock = threading.Lock()
        self._drawing = {name: threading.Lock() for name in FIGURES}
        self._version = ""
        self._has_begun = RunFolder(folder).has_run
        self._reader = RunReader(folder)
        self._table = Table()
        self._content: dict[str, Any] = {}
        self._result: Result | None = None
        # Tables as they were sent, by version.
        self._tables: dict[str, dict[str, Any]] = {}
        # Figures as they were sent, by name and metric, with the version of the run.
        self._figures: dict[tuple[str, str | None], tuple[str, bytes]] = {}
        self._text_allowance = Allowance(SHARE * SHARE_OF_TEXT, BURST)
        self._figure_allowance = Allowance(SHARE * (1 - SHARE_OF_TEXT), BURST)

    @property
    def version(self) -> str:
        """What changes when there is something new to show."""
        description = _size(self.folder / "run.json")
        journal = _size(self.folder / JOURNAL)
        return f"{description}-{journal}-{int(is_locked(self.folder))}"

    def news(self, since: str) -> bytes | None:
        """Return what the page shows now, as JSON; None where it shows that already.

        Args:
            since: What it shows: the version of the run, and that of what is at work.

        Raises:
            MihaError: The run cannot be read.
        """
        known, _, known_work = since.partition("/")
        work_version = _size(self.folder / RUNNING)
        # However many pages ask, the run is read once.
        with self._lock:
            version = self._read(known)
            if version == known and work_version == known_work:
                return None
            news: dict[str, Any] = {"version": f"{version}/{work_version}"}
            if version != known:
                news["content"] = self._content_since(known)
            is_running = self._result is not None and self._result.state == "running"
            news["live"] = read_live(self.folder) if is_running else None
            news["age"] = self._age() if is_running else None
            return json.dumps(news, allow_nan=False).encode()

    def _read(self, known: str) -> str:
        """Read the run where it has changed; return which version of it there is."""
        version = self.version
        # A page that shows nothing yet does not wait.
        is_first = not known
        if version == self._version or not (is_first or self._text_allowance.is_there):
            return self._version
        with self._text_allowance.spent():
            # One that is gone is an error, and not waited for.
            self._has_begun = self._has_begun or RunFolder(self.folder).has_run
            if self._has_begun:
                self._result = self._reader.read()
                self._content = outline(self._result, table=self._table)
            else:
                self._content = _nothing(self.folder)
        self._version = version
        return version

    def _content_since(self, known: str) -> dict[str, Any]:
        """Return the content, without the rows that a page has already."""
        table = self._content["table"]
        before = self._tables.get(known)
        self._tables[self._version] = table
        # Pages that are as old as that ask for all rows again.
        for old in list(self._tables)[:-MOST_TABLES]:
            del self._tables[old]
        if before is None or before["columns"] != table["columns"]:
            return self._content
        pairs = zip(before["rows"], table["rows"], strict=False)
        same = len(list(takewhile(lambda pair: pair[0] is pair[1], pairs)))
        news = table | {"kept": same, "rows": table["rows"][same:]}
        return self._content | {"table": news}

    def _age(self) -> float:
        """Return the seconds since the run has last written what the page shows."""
        times = []
        for name in (JOURNAL, RUNNING, "run.json"):
            with contextlib.suppress(OSError):
                times.append((self.folder / name).stat().st_mtime)
        return max(0.0, time.time() - max(times, default=time.time()))

    def figure(self, name: str, metric: str | None, since: str) -> bytes | None:
        """Return a figure as JSON; None where there is no newer one, or not yet.

        Args:
            name: Which.
            metric: The logged value that it shows, where it shows one.
            since: The version of the run that it shows already; empty where it shows none.

        Raises:
            MihaError: The run cannot be read.
        """
        with self._drawing[name]:
            with self._lock:
                self._read(self._version)
                version, result = self._version, self._result
            if version == since or result is None:
                return None
            # Without a name it shows the monitored value; most figures show no other one.
            shown = (metric or result.monitor) if FIGURES[name].has_metrics else None
            made_for, found = self._figures.get((name, shown), ("", b""))
            if made_for == version:
                return found
            # The first one is not waited for, nor one that somebody has asked for.
            allowance = self._figure_allowance
            if since and not allowance.is_there:
                return None
            with contextlib.nullcontext() if name == ON_DEMAND else allowance.spent():
                sent = {"version": version, "figure": figure_of(result, name, shown)}
                found = json.dumps(sent, allow_nan=False).encode()
            self._figures[name, shown] = (version, found)
            return found

    def prepare(self) -> None:
        """Make what a page will ask for first, while the browser is still opening it."""
        # What is wrong is said when the page asks.
        with contextlib.suppress(MihaError):
            self.news("")
            for name in FIGURES:
                if name != ON_DEMAND:
                    self.figure(name, None, "")

    def archive(self, name: str) -> bytes | None:
        """Return an archive; None unless the journal names it and it lies in the folder.

        Args:
            name: As the journal has it. It is looked up there, and never used as a path alone.
        """
        with self._lock:
            trainings = self._reader.read().log.trainings
        known = {record.archive for record in trainings}
        if name not in known:
            return None
        root = self.folder.resolve()
        path = (self.folder / name).resolve()
        # A link, or a journal that somebody else has written, may lead anywhere.
        if not path.is_relative_to(root):
            return None
        try:
            return read_file(path)
        except (OSError, ValueError):
            return None


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD, and nothing else.

    Args:
        watched: The run.
    """

    # What it tells of itself: no version of Python.
    server_version = "miha"
    sys_version = ""
    timeout = 30

    def __init__(self, watched: Watched, *args: Any, **kwargs: Any) -> None:
        self._watched = watched
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:  # noqa: N802, D102
        try:
            self._answer()
        except MihaError as error:
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, str(error).encode())
        # The page was closed meanwhile.
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: the terminal is the user's."""

    def _answer(self) -> None:
        # A page of elsewhere whose name leads here must not read the run.
        if not self._is_asked_here():
            self._send(HTTPStatus.FORBIDDEN, b"Ask by the address that miha watch has printed.")
            return
        asked = urlsplit(self.path)
        if asked.path == "/":
            folder = self._watched.folder.absolute()
            text = page(folder.name, None)
            self._send(HTTPStatus.OK, text.encode(), "text/html; charset=utf-8")
        elif asked.path == "/data.json":
            since = parse_qs(asked.query).get("since", [""])[0]
            self._send_json(self._watched.news(since))
        elif asked.path == "/figure.json":
            self._send_figure(parse_qs(asked.query))
        else:
            self._send_archive(unquote(asked.path.lstrip("/")))

    def _is_asked_here(self) -> bool:
        server = cast(ThreadingHTTPServer, self.server)
        port = server.server_port
        return self.headers.get("Host") in (f"{HOST}:{port}", f"localhost:{port}")

    def _send_figure(self, asked: dict[str, list[str]]) -> None:
        # The first of each, where one is asked for twice.
        wishes = {key: values[0] for key, values in asked.items()}
        name = wishes.get("name", "")
        since = wishes.get("since", "")
        metric = wishes.get("metric", "")
        if name not in FIGURES:
            self._send(HTTPStatus.NOT_FOUND, b"There is no such figure.")
            return
        self._send_json(self._watched.figure(name, metric or None, since))

    def _send_json(self, found: bytes | None) -> None:
        status = HTTPStatus.NO_CONTENT if found is None else HTTPStatus.OK
        self._send(status, found or b"", "application/json")

    def _send_archive(self, name: str) -> None:
        data = self._watched.archive(name)
        if data is None:
            self._send(HTTPStatus.NOT_FOUND, b"There is no such archive in this run.")
        else:
            self._send(HTTPStatus.OK, data, "application/zip")

    def _send(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def make_server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Return a server of a run's page, for this computer only; it is not started yet.

    Args:
        folder: The run's.
        port: Where to listen; 0 finds a free one.

    Raises:
        JournalError: The run is damaged. One that has not begun is waited for.
        MissingPackageError: Plotly is not installed.
        OSError: The port is taken.
    """
    # What is missing is an error now, and not when the page is asked for.
    if RunFolder(folder).has_run:
        load_run(folder)
    page("", None)
    watched = Watched(folder)
    threading.Thread(target=watched.prepare, daemon=True).start()
    handler = partial(Handler, watched)
    server = ThreadingHTTPServer((HOST, port), handler)
    server.daemon_threads = True
    return server


def address(server: ThreadingHTTPServer) -> str:
    """Return the address of a server's page."""
    return f"http://{HOST}:{server.server_port}/"


def _nothing(folder: Path) -> dict[str, Any]:
    """Return what the page shows of a run that has not begun."""
    return {
        "title": folder.absolute().name,
        "folder": str(folder.absolute()),
        "state": "waiting",
        "verdict": {"sentences": [], "commands": {}},
        "summary": ["There is no run here yet. This page shows it as soon as it begins."],
        "genes": [],
        "metrics": [],
        "figures": [],
        "table": {"columns": [], "first": 0, "rows": []},
        "arguments": [],
        "versions": [],
    }


def _size(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "0"
    return f"{status.st_size}.{status.st_mtime_ns}"
