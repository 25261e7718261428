"""`miha watch`: live, for this computer only, read-only, and nothing outside the folder."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from browser import errors, requests, until
from fakes import GENOME, make_loop, run
from runs import hostile, make_run

from miha.callbacks import Callback
from miha.options import Budget
from miha.records import Change, Schedule, Task
from miha.report.content import FIGURES, ON_DEMAND, Drawn, content, outline
from miha.report.live import Live
from miha.report.server import SHARE, Allowance, Watched, address, make_server
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
    assert shown["content"] == json.loads(json.dumps(outline(load_run(folder))))
    assert ask(server, f"/data.json?since={shown['version']}") == (204, b"")


def test_each_figure_is_served_for_each_metric(served):
    folder, server = served
    version = json.loads(ask(server, "/data.json")[1])["version"].split("/")[0]
    whole = {figure["name"]: figure for figure in content(load_run(folder))["figures"]}
    assert "val_accuracy" in whole["best"]["others"]
    for name, metric, expected in (
        ("lineage", "", whole["lineage"]),
        ("history", "val_loss", whole["history"]),
        ("best", "val_accuracy", whole["best"]["others"]["val_accuracy"]),
    ):
        status, body = ask(server, f"/figure.json?name={name}&metric={metric}&since=")
        found = json.loads(body)
        assert status == 200 and found["version"] == version
        assert found["figure"]["figure"] == expected["figure"]
    assert ask(server, f"/figure.json?name=lineage&since={version}") == (204, b"")
    assert ask(server, "/figure.json?name=other&since=")[0] == 404


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


def test_a_run_that_has_not_begun_is_waited_for(tmp_path):
    watched = Watched(tmp_path / "run")
    before = json.loads(watched.news(""))
    assert before["content"]["state"] == "waiting" and before["live"] is None
    assert watched.news(before["version"]) is None
    assert watched.figure("history", None, "") is None
    make_run(tmp_path / "run")
    after = json.loads(watched.news(before["version"]))
    assert after["content"]["state"] == "finished" and len(after["content"]["table"]["rows"]) == 6


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


def lines_of(folder):
    return (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)


def grow(watched, lines, count, since=""):
    """Return what is new when a journal has so many lines."""
    (watched.folder / "journal.jsonl").write_bytes(b"".join(lines[:count]))
    return json.loads(watched.news(since))


def test_the_figure_that_takes_seconds_is_made_only_when_it_is_asked_for(tmp_path, monkeypatch):
    make_run(tmp_path, c=14, pop_size=4)
    made = []

    def plot(result, metric):
        made.append(len(result.log.trainings))
        return FIGURES["schedule"].plot(result, metric)

    monkeypatch.setitem(FIGURES, ON_DEMAND, Drawn(plot, "slow"))
    lines = lines_of(tmp_path)
    watched = Watched(tmp_path)
    for count, is_offered in ((30, False), (len(lines), True)):
        shown = grow(watched, lines, count)["content"]["figures"]
        assert (ON_DEMAND in [figure["name"] for figure in shown]) == is_offered
    assert made == []
    assert "figure" in json.loads(watched.figure(ON_DEMAND, None, ""))
    assert len(made) == 1


def test_a_page_gets_the_rows_that_it_does_not_have(tmp_path):
    make_run(tmp_path, c=8, pop_size=4)
    lines = lines_of(tmp_path)
    watched, rows, since, sent = Watched(tmp_path), [], "", []
    for count in range(2, len(lines), 3):
        news = grow(watched, lines, count, since)
        table, since = news["content"]["table"], news["version"]
        rows = rows[: table.get("kept", 0)] + table["rows"]
        sent.append(len(table["rows"]))
        whole = json.loads(json.dumps(outline(load_run(tmp_path))))["table"]["rows"]
        assert rows == whole
    # When a hyperparameter has its first new value, all rows have one more cell.
    assert sent[-1] < 12 and len(rows) > 24


def test_text_comes_at_once_and_figures_when_there_is_time(tmp_path):
    make_run(tmp_path, c=8, pop_size=4)
    lines = lines_of(tmp_path)
    watched = Watched(tmp_path)
    first = grow(watched, lines, 20)["version"].split("/")[0]
    assert watched.figure("history", None, "") is not None
    watched._figure_allowance._seconds = -60
    grow(watched, lines, 21)
    assert watched.figure("history", None, first) is None
    assert watched.figure("history", "val_accuracy", "") is not None  # One that is not there.
    watched._figure_allowance._seconds = 1
    assert watched.figure("history", None, first) is not None


def test_an_allowance_grows_with_time_and_is_spent(monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, thread_time=lambda: clock.used)
    clock.now = clock.used = 0.0
    monkeypatch.setattr("miha.report.server.time", clock)
    allowance = Allowance(SHARE, 0.5)
    for _ in range(100):
        clock.now += 1.0
        if allowance.is_there:
            with allowance.spent():
                clock.used += 0.3
    assert 0.5 * SHARE * 100 <= clock.used - 0.5 <= SHARE * 100 + 0.3


def test_what_is_at_work_is_told_while_a_run_runs(tmp_path):
    make_run(tmp_path)
    watched, told = Watched(tmp_path), []

    class Asking(Callback):
        def on_training_begin(self, task):
            told.append(json.loads(watched.news("")))

    live = Live("val_loss", "min")
    with locked(tmp_path):
        loop = make_loop(tmp_path, overwrite=True, callbacks=[live, Asking()], seed=2)
        live.on_run_begin(loop.schedule, str(tmp_path))
        run(loop)
        live.close()
    works = [news["live"]["work"] for news in told]
    assert works[0] == ["initial training, epoch 1 of 2"]
    assert works[1] == ["cycle 1, clone 0: the control, epoch 1 of 2"]
    assert works[2][0].startswith("cycle 1, clone 1: ") and "epoch 1 of 2" in works[2][0]
    assert [news["live"]["done"] for news in told[:4]] == [0, 2, 4, 6]
    assert all(0 <= news["age"] < 60 for news in told)
    assert json.loads(watched.news(""))["live"] is None


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


def test_a_new_cycle_is_shown_within_a_second(browser, tmp_path):
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
        # A busy machine takes its time; it is 0.4 s.
        assert time.monotonic() - written < 2
        browser.execute_script("document.querySelector('.plot').scrollIntoView()")
        until(lambda: browser.execute_script("return document.querySelector('.plot').data"))
        shown = browser.find_element("id", "pace").text
        assert re.fullmatch(r"updated \d+ s ago", shown)
        assert errors(browser) == []
        own = address(server)
        assert all(url.startswith((own, "data:", "blob:")) for url in requests(browser))


def test_a_page_tells_what_is_at_work_and_draws_the_metric_that_is_chosen(browser, tmp_path):
    make_run(tmp_path / "run", c=3)
    path = tmp_path / "run/journal.jsonl"
    path.write_bytes(b"".join(lines_of(tmp_path / "run")[:6]))
    live = Live("val_loss", "min", Budget(patience=2))
    live.on_run_begin(Schedule(2, 2, 1, 3, 3), str(tmp_path / "run"))
    with watching(tmp_path / "run") as server, locked(tmp_path / "run"):
        browser.get(address(server))
        until(lambda: "of at most 25 epochs" in browser.find_element("id", "pace").text)
        live.on_training_begin(make_task("adam -> lion"))
        until(lambda: browser.find_element("id", "work").text)
        assert browser.find_element("id", "work").text == (
            "cycle 2, clone 1: adam -> lion, epoch 1 of 2"
        )
        title = "return document.querySelector('.figure[data-name=best] .plot').source"
        until(lambda: (browser.execute_script(title) or {}).get("layout"))
        browser.find_element("css selector", "#metric option:nth-child(2)").click()
        until(lambda: "accuracy" in str(browser.execute_script(f"{title}.layout.title.text")))
        assert errors(browser) == []
    live.close()


def make_task(text):
    change = Change("optimizer", text)
    return Task("clone", 2, 1, 2, GENOME, change, "population/2_1_model.zip")


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
        # A run only adds to its journal: written anew, it would be empty for a moment.
        with path.open("ab") as journal:
            journal.write(b"".join(lines[len(lines) - 40 :]))
        until(lambda: browser.execute_script(counted) > many)
        assert browser.execute_script("return document.querySelector('.tall').scrollTop") == where
        focused = browser.execute_script("return document.activeElement.textContent")
        assert where > 3000 and focused == "selected"


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
