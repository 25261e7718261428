"""`miha watch`: live, for this computer only, read-only, and nothing outside the folder."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import threading
import time
from contextlib import contextmanager

import pytest
from browser import errors, requests, until
from fakes import make_loop, run
from runs import hostile, make_run

from miha.callbacks import Callback
from miha.errors import JournalError
from miha.report.content import FIGURES, SLOW, content
from miha.report.server import Watched, address, make_server
from miha.results.reader import load_run
from miha.storage.journal import Journal
from miha.storage.lock import locked


@contextmanager
def watching(folder):
    with make_server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path, method="GET", host=None):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mnist"
    make_run(folder)
    (folder.parent / "secret.zip").write_text("secret")
    with watching(folder) as server:
        yield folder, server


def test_the_page_and_its_data_are_served(served):
    folder, server = served
    status, body = ask(server, "/")
    assert status == 200 and b"<title>mnist" in body
    status, body = ask(server, "/data.json")
    shown = json.loads(body)
    assert status == 200
    assert shown["content"] == json.loads(json.dumps(content(load_run(folder))))
    assert ask(server, f"/data.json?since={shown['version']}") == (204, b"")


def test_only_this_computer_is_listened_to(served):
    assert served[1].server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost:1"])
def test_a_page_of_elsewhere_that_leads_here_is_refused(served, host):
    assert ask(served[1], "/data.json", host=host)[0] == 403


def test_archives_of_the_run_are_served(served):
    folder, server = served
    status, body = ask(server, "/population/1_0_model.zip")
    assert status == 200
    assert body == (folder / "population/1_0_model.zip").read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/run.json",
        "/journal.jsonl",
        "/run.log",
        "/../secret.zip",
        "/model/../../secret.zip",
        "/%2e%2e/secret.zip",
        "/..%2fsecret.zip",
        "//etc/passwd",
        "/etc/passwd",
        "/model/",
        "/model",
        "/population/1_0_model.zip/",
        "/population//1_0_model.zip",
        "/./population/1_0_model.zip",
        "/C:/secret.zip",
        "/..\\secret.zip",
        "/population/1_0_model.zip%00",
        "/model/model_start.zip.part",
    ],
)
def test_nothing_else_can_be_read(served, path):
    status, body = ask(served[1], path)
    assert status == 404
    assert b"secret" not in body and b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_written(served, method):
    folder, server = served
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert ask(server, "/model/model_final.zip", method)[0] == 501
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_head_has_no_body(served):
    assert ask(served[1], "/", "HEAD") == (200, b"")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    archive = tmp_path / "run/population/1_0_model.zip"
    archive.unlink()
    archive.symlink_to(tmp_path / "secret")
    assert Watched(tmp_path / "run").archive("population/1_0_model.zip") is None


def test_a_journal_that_somebody_has_written_opens_no_other_file(tmp_path):
    make_run(tmp_path / "run")
    (tmp_path / "secret").write_text("secret")
    journal = Journal(tmp_path / "run/journal.jsonl")
    entries = journal.open()
    for name in ("../secret", str(tmp_path / "secret")):
        journal.append({**entries[0], "archive": name})
        assert Watched(tmp_path / "run").archive(name) is None


def test_a_pipe_in_an_archives_place_is_not_waited_for(tmp_path):
    make_run(tmp_path)
    archive = tmp_path / "population/1_0_model.zip"
    archive.unlink()
    os.mkfifo(archive)
    assert Watched(tmp_path).archive("population/1_0_model.zip") is None


def test_a_damaged_journal_is_said_and_watching_goes_on(tmp_path):
    make_run(tmp_path / "run")
    path = tmp_path / "run/journal.jsonl"
    whole = path.read_bytes()
    with watching(tmp_path / "run") as server:
        path.write_bytes(b"garbage\n" + whole)
        status, body = ask(server, "/data.json")
        assert status == 500 and b"line 1" in body
        path.write_bytes(whole)
        assert ask(server, "/data.json")[0] == 200


def test_a_folder_without_a_run_is_not_watched(tmp_path):
    with pytest.raises(JournalError, match=r"must hold its `run\.json`"):
        make_server(tmp_path)


def test_the_version_changes_with_the_journal_and_with_the_process(tmp_path):
    make_run(tmp_path)
    watched = Watched(tmp_path)
    versions = {watched.version}
    with locked(tmp_path):
        versions.add(watched.version)
        Journal(tmp_path / "journal.jsonl").cut(4)
        versions.add(watched.version)
    versions.add(watched.version)
    assert len(versions) == 4


def test_the_slow_figure_of_a_running_run_is_made_again_as_the_run_grows(tmp_path, monkeypatch):
    make_run(tmp_path, c=8, pop_size=4)
    lines = (tmp_path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    made = []
    slow = FIGURES[SLOW][0]
    monkeypatch.setitem(FIGURES, SLOW, (lambda result: made.append(1) or slow(result), ""))
    watched, counts = Watched(tmp_path), []
    with locked(tmp_path):
        for length in range(20, 36):  # Two lines longer than 10 % are a new figure.
            (tmp_path / "journal.jsonl").write_bytes(b"".join(lines[:length]))
            shown = json.loads(watched.news(""))["content"]
            assert "figure" in shown["figures"][-1]
            counts.append(len(made))
    assert counts[0] == 1 and 3 < counts[-1] < len(counts)
    (tmp_path / "journal.jsonl").write_bytes(b"".join(lines))
    watched.news("")
    assert len(made) == counts[-1] + 1  # Of a finished run it is always that of all clones.


def test_a_torn_line_is_as_if_it_were_not_there(tmp_path):
    make_run(tmp_path)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    for length in range(0, len(whole), max(len(whole) // 25, 1)):
        path.write_bytes(whole[:length])
        rows = content(load_run(tmp_path))["table"]["rows"]
        assert len(rows) == whole[:length].count(b'"phase": "clone"') - (
            b'"phase": "clone"' in whole[:length].rsplit(b"\n", 1)[-1]
        )


def test_a_run_that_is_written_meanwhile_can_be_read_and_ends_as_it_would(tmp_path):
    alone = make_run(tmp_path / "alone", c=4)
    loop = make_loop(tmp_path / "run", c=4)
    failures, sizes = [], []
    done = threading.Event()

    def read():
        while not done.is_set():
            try:
                sizes.append(len(content(load_run(tmp_path / "run"))["table"]["rows"]))
            except Exception as error:
                failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    with locked(tmp_path / "run"):
        run(loop)
    done.set()
    reader.join()
    assert failures == []
    assert sizes == sorted(sizes) and sizes
    assert load_run(tmp_path / "run").best_value == alone.best_value


def test_watching_never_waits_for_a_cycle_to_be_read(tmp_path):
    """A reader takes no lock that a run could meet, whenever it asks."""
    make_run(tmp_path)
    held = []

    class Watching(Callback):
        def on_epoch_end(self, task, epoch):
            held.append(Watched(tmp_path).news("") is not None)

    with locked(tmp_path):
        loop = make_loop(tmp_path, overwrite=True, callbacks=[Watching()], seed=2)
        run(loop)
    assert held and all(held)


def test_a_new_cycle_is_shown_within_three_seconds(browser, tmp_path):
    make_run(tmp_path / "run", c=3)
    path = tmp_path / "run/journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))  # The first training, cycle 1 and its winner.
    with watching(tmp_path / "run") as server, locked(tmp_path / "run"):
        browser.get(address(server))
        counted = "return document.querySelectorAll('#clones tbody tr').length"
        until(lambda: browser.execute_script(counted) == 3)
        assert browser.find_element("id", "state").text == "running"
        browser.find_element("id", "search").send_keys("cycle")
        browser.execute_script("arguments[0].value = ''", browser.find_element("id", "search"))
        with open(path, "ab") as journal:
            journal.write(b"".join(lines[6:10]))
        written = time.monotonic()
        until(lambda: browser.execute_script(counted) == 6)
        assert time.monotonic() - written < 3
        browser.execute_script("document.querySelector('.plot').scrollIntoView()")
        until(lambda: browser.execute_script("return document.querySelector('.plot').data"))
        assert errors(browser) == []
        own = address(server)
        assert all(url.startswith((own, "data:", "blob:")) for url in requests(browser))


def test_what_is_read_stays_put_when_the_run_grows(browser, tmp_path):
    make_run(tmp_path / "run", c=60, pop_size=4, restarts=0)
    path = tmp_path / "run/journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) - 40]))
    with watching(tmp_path / "run") as server, locked(tmp_path / "run"):
        browser.get(address(server))
        counted = "return document.querySelectorAll('#clones tbody tr').length"
        until(lambda: browser.execute_script(counted) > 180)
        many = browser.execute_script(counted)
        scroll = "const box = document.querySelector('.tall'); box.scrollIntoView();"
        browser.execute_script(f"{scroll} box.scrollTop = 4000;")
        where = browser.execute_script("return document.querySelector('.tall').scrollTop")
        head = browser.find_elements("css selector", "#clones th button")[0]
        browser.execute_script("arguments[0].focus({preventScroll: true})", head)
        path.write_bytes(b"".join(lines))
        until(lambda: browser.execute_script(counted) > many)
        assert browser.execute_script("return document.querySelector('.tall').scrollTop") == where
        focused = browser.execute_script("return document.activeElement.textContent")
        assert where > 3000 and focused == "cycle"


def test_a_watched_run_of_a_stranger_is_text(browser, tmp_path):
    make_run(tmp_path / "run", hostile(), c=2, pop_size=6)
    with watching(tmp_path / "run") as server:
        browser.get(address(server))
        until(lambda: browser.find_elements("css selector", "#clones tbody tr"))
        assert browser.title == "run – MIHA"
        assert "<script>" in browser.find_element("id", "genes").text


def test_a_page_says_when_nobody_answers_any_more(browser, tmp_path):
    make_run(tmp_path / "run")
    with watching(tmp_path / "run") as server:
        browser.get(address(server))
        until(lambda: browser.find_elements("css selector", "#clones tbody tr"))
        assert not browser.find_element("id", "notice").is_displayed()
    notice = browser.find_element("id", "notice")
    until(lambda: "No news from miha watch" in notice.text)
    assert len(browser.find_elements("css selector", "#clones tbody tr")) == 6


def test_a_folder_that_is_deleted_meanwhile_is_an_answer_in_words(tmp_path):
    make_run(tmp_path / "run")
    with watching(tmp_path / "run") as server:
        shutil.rmtree(tmp_path / "run")
        status, body = ask(server, "/data.json")
        assert status == 500 and b"run.json" in body
