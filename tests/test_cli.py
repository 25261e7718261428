"""The command line: what it prints, what it writes, and its errors."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import sys

import pytest
from interpreters import imported
from paths import ROOT
from runs import make_run

import miha
from miha.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    make_run(folder / "mnist", c=3)
    return folder


def call(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, " ".join(out.split()), err


def start(*arguments, **options):
    command = [sys.executable, "-m", "miha", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **options)


def test_help_names_every_command_with_examples(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    for name in ("demo", "show", "list", "report", "watch", "export"):
        assert re.search(rf"^    {name} +\w", text, re.M)
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert "usage: miha " + name in capsys.readouterr().out
    assert "miha watch logs/mnist" in text


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"miha {miha.__version__}\n"


def test_the_demo_names_the_extra_that_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    status, _, err = call(capsys, "demo")
    assert status == 1 and "pip install 'miha[examples]'" in err


def test_no_command_and_unknown_ones_are_errors_of_use(capsys):
    for arguments in ([], ["paint"], ["watch", "x", "--port", "70000"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "usage: miha" in capsys.readouterr().err


def test_show_prints_the_summary_and_the_winners(capsys, runs):
    status, out, _ = call(capsys, "show", runs / "mnist")
    assert status == 0
    assert "The run is finished: 3 of 3 cycles" in out
    assert out.count("│ 1 │") >= 1 and "Who won each cycle" in out


def test_show_can_print_every_clone(capsys, runs):
    _, winners, _ = call(capsys, "show", runs / "mnist")
    _, clones, _ = call(capsys, "show", runs / "mnist", "--all")
    assert clones.count("│") > 2 * winners.count("│")


def test_show_needs_nothing_heavy(runs):
    code = f"from miha.cli import main; assert main(['show', {str(runs / 'mnist')!r}]) == 0"
    report = imported(
        f"import io, sys; sys.stdout = io.StringIO()\n{code}\nsys.stdout = sys.__stdout__"
    )
    assert report == set()


def test_list_prints_the_runs_of_a_folder(capsys, runs):
    status, out, _ = call(capsys, "list", runs)
    assert status == 0 and "mnist │ finished │ 3/3 │ val_loss" in out
    assert call(capsys, "list", runs, "--sort", "size")[1] == out


def test_list_says_where_there_are_none(capsys, tmp_path):
    assert "There are no runs" in call(capsys, "list", tmp_path)[1]


@pytest.mark.parametrize("command", ["show", "report", "export"])
def test_a_folder_that_is_no_run_is_an_error_with_the_cure(capsys, tmp_path, command):
    more = ["--to", tmp_path / "x.keras"] if command == "export" else []
    status, _, err = call(capsys, command, tmp_path, *more)
    assert status == 1
    assert "must hold its `run.json`" in err and "Name the folder of a run" in err
    assert "Traceback" not in err


def test_a_folder_that_is_no_run_is_told_of_one_nearby(capsys, runs):
    for folder, why in ((runs, "which holds none"), (runs / "mnits", "which is not there")):
        status, out, err = call(capsys, "show", folder)
        assert (status, out) == (1, "")
        assert why in err and f"such as {str(runs / 'mnist')!r}" in err


def test_a_folder_that_is_not_there_is_an_error(capsys, tmp_path):
    status, _, err = call(capsys, "list", tmp_path / "nowhere")
    assert status == 1 and "must be there" in err


def test_report_writes_the_page_and_prints_where(capsys, runs, tmp_path):
    pytest.importorskip("plotly")
    assert call(capsys, "report", runs / "mnist")[1] == str(runs / "mnist/report.html")
    assert call(capsys, "report", runs / "mnist", "--to", tmp_path / "p.html")[0] == 0
    assert (tmp_path / "p.html").read_text().startswith("<!doctype html>")


def test_report_names_the_extra_that_is_missing(capsys, runs, monkeypatch):
    for name in ("plotly", "plotly.graph_objects", "plotly.offline"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, err = call(capsys, "report", runs / "mnist")
    assert status == 1 and "pip install 'miha[plot]'" in err


@pytest.fixture
def heeded():
    """A child inherits that SIGINT is ignored, as some shells have it, but no handler."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_watch_serves_until_it_is_interrupted(runs, heeded):
    pytest.importorskip("plotly")
    with start("watch", runs / "mnist") as process:
        line = process.stdout.readline()
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/", line).group(1))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_an_error_with_words(capsys, runs):
    pytest.importorskip("plotly")
    from miha.report.server import make_server

    with make_server(runs / "mnist") as server:
        status, _, err = call(capsys, "watch", runs / "mnist", "--port", server.server_port)
    assert status == 1 and "`--port` must be free" in err


def test_a_reader_that_has_seen_enough_is_no_error(runs):
    with start("show", runs / "mnist", "--all") as process:
        process.stdout.close()
        process.wait(20)
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--model", "model_99", "--to", "a.keras"], "`--model` must be 'best', 'last' or"),
        (["--to", "a.h5"], "`--to` must end in .keras or .onnx"),
    ],
)
def test_export_refuses_before_keras_is_loaded(capsys, runs, tmp_path, arguments, words):
    status, _, err = call(capsys, "export", runs / "mnist", *arguments)
    assert status == 1 and words in err


def test_export_replaces_nothing(capsys, runs, tmp_path):
    (tmp_path / "a.keras").write_text("mine")
    status, _, err = call(capsys, "export", runs / "mnist", "--to", tmp_path / "a.keras")
    assert status == 1 and "must name something new" in err
    assert (tmp_path / "a.keras").read_text() == "mine"


def test_an_archive_that_keras_cannot_load_is_an_error_and_leaves_nothing(capsys, runs, tmp_path):
    # The fake trainer's archives hold no network of Keras.
    status, _, err = call(capsys, "export", runs / "mnist", "--to", tmp_path / "a.keras")
    assert status == 1 and "safe to load" in err
    assert list(tmp_path.iterdir()) == []
