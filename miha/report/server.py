"""`miha watch`: the page of a run, live, for this computer only."""

from __future__ import annotations

import json
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from miha.archive.members import read_file
from miha.errors import MihaError
from miha.report.content import SLOW, Figure, content
from miha.report.page import page
from miha.results.reader import load_run
from miha.storage.lock import is_locked

# The address of this computer for itself: no other one can connect to it.
HOST = "127.0.0.1"

# An answer is never an old one, and no other page may use it.
HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

GROWTH = 1.1
"""By what a running run has more trainings before the slow figure is made again."""


class Watched:
    """A run's folder that is read again when it has changed.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._version = ""
        self._answer = b""
        # The slow figure, and how many trainings the run had when it was made.
        self._slow_figure: Figure = {}
        self._trainings = 0

    @property
    def version(self) -> str:
        """What changes when there is something new to show."""
        description = _size(self.folder / "run.json")
        journal = _size(self.folder / "journal.jsonl")
        return f"{description}-{journal}-{int(is_locked(self.folder))}"

    def news(self, since: str) -> bytes | None:
        """Return what the page shows now, as JSON; None where it shows that already.

        Args:
            since: The version that it shows.

        Raises:
            MihaError: The run cannot be read.
        """
        version = self.version
        if version == since:
            return None
        # However many pages ask, the run is read once.
        with self._lock:
            if version != self._version:
                shown = {"version": version, "content": self._content()}
                self._answer = json.dumps(shown, allow_nan=False).encode()
                self._version = version
            return self._answer

    def _content(self) -> dict[str, Any]:
        """Return what the page shows; where a run is at work, the slow figure is a little older."""
        result = load_run(self.folder)
        trainings = len(result.log.trainings)
        is_recent = self._trainings <= trainings <= GROWTH * self._trainings
        if result.state == "running" and is_recent:
            return content(result, kept={SLOW: self._slow_figure})
        found = content(result)
        for figure in found["figures"]:
            if figure["name"] == SLOW:
                self._slow_figure = figure
        self._trainings = trainings
        return found

    def archive(self, name: str) -> bytes | None:
        """Return an archive; None unless the journal names it and it lies in the folder.

        Args:
            name: As the journal has it. It is looked up there, and never used as a path alone.
        """
        trainings = load_run(self.folder).log.trainings
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
            self._send_news(self._watched.news(since))
        else:
            self._send_archive(unquote(asked.path.lstrip("/")))

    def _is_asked_here(self) -> bool:
        server = cast(ThreadingHTTPServer, self.server)
        port = server.server_port
        return self.headers.get("Host") in (f"{HOST}:{port}", f"localhost:{port}")

    def _send_news(self, news: bytes | None) -> None:
        status = HTTPStatus.NO_CONTENT if news is None else HTTPStatus.OK
        self._send(status, news or b"", "application/json")

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
        JournalError: The folder holds no run, or it is damaged.
        MissingPackageError: Plotly is not installed.
        OSError: The port is taken.
    """
    # What is missing is an error now, and not when the page is asked for.
    load_run(folder)
    page("", None)
    handler = partial(Handler, Watched(folder))
    server = ThreadingHTTPServer((HOST, port), handler)
    server.daemon_threads = True
    return server


def address(server: ThreadingHTTPServer) -> str:
    """Return the address of a server's page."""
    return f"http://{HOST}:{server.server_port}/"


def _size(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return "0"
    return f"{status.st_size}.{status.st_mtime_ns}"
