"""Progress: lines, a bar, or nothing."""

from __future__ import annotations

import io
import math
import re

import pytest
from fakes import make_loop, make_network, make_record, run
from rich.console import Console
from runs import make_run

from miha.options import Budget
from miha.records import Change, Network, Schedule, Task, TrainingRecord
from miha.report.progress import Bar, Lines, announcement, end_lines, make_progress, place
from miha.results.reader import load_run

SCHEDULE = Schedule(m=2, n=2, k=1, c=1, pop_size=2)
LONGER = Schedule(m=2, n=3, k=1, c=1, pop_size=2)
LARGER = Change("batch_size", "batch size 4 -> 8")


def console(terminal: bool = False, width: int = 120) -> Console:
    return Console(
        file=io.StringIO(),
        force_terminal=terminal,
        force_jupyter=False,
        width=width,
        highlight=False,
        soft_wrap=True,
    )


def text(console: Console) -> str:
    """Return what a console shows, without its control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())


def diverged() -> Network:
    """Return a clone that was to train 3 epochs and has diverged in its first."""
    return make_network(values=(math.nan,), failure="diverged: val_loss is nan")


def task_of(record: TrainingRecord) -> Task:
    """Return a training before it happened."""
    place = (record.phase, record.cycle, record.clone, len(record.epochs))
    return Task(*place, record.genome, record.change, record.archive)


@pytest.fixture
def piped(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def bar():
    shown = Bar(console(terminal=True), "val_loss")
    yield shown
    shown.close()


def test_the_announcement_counts_the_epochs_before_they_are_trained():
    found = announcement(Schedule(10, 3, 3, 10, 5), "logs/mnist", Budget())
    assert found == (
        "MIHA trains 200 epochs: 2 x m=10, and c=10 cycles of pop_size=5 clones x n=3 and k=3. "
        "Folder: logs/mnist"
    )


def test_a_quiet_run_shows_nothing(tmp_path, capfd):
    assert make_progress(0, "val_loss") == []
    run(make_loop(tmp_path, callbacks=make_progress(0, "val_loss")))
    assert capfd.readouterr() == ("", "")


def test_lines_are_shown_where_there_is_no_terminal(piped):
    for verbose in (1, 2):
        assert [type(shown) for shown in make_progress(verbose, "val_loss")] == [Lines]


def test_a_bar_is_shown_on_a_terminal_unless_lines_are_wished(piped, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert [type(shown) for shown in make_progress(1, "val_loss")] == [Bar]
    assert [type(shown) for shown in make_progress(2, "val_loss")] == [Lines]


def test_lines_go_to_the_standard_output(piped, capsys):
    make_progress(2, "val_loss")[0].on_run_begin(SCHEDULE, "logs/x")
    assert capsys.readouterr().out == announcement(SCHEDULE, "logs/x", Budget()) + "\n"


def test_lines_tell_the_run(tmp_path):
    output = console()
    shown = Lines(output, "val_loss")
    loop = make_loop(tmp_path, m=2, n=2, k=1, c=1, pop_size=2, callbacks=[shown])
    shown.on_run_begin(loop.schedule, "logs/x")
    run(loop)
    shown.on_run_end(load_run(tmp_path))
    lines = text(output).splitlines()
    starts = [
        "MIHA trains 9 epochs",
        "[2/9] initial training: val_loss ",
        "[4/9] cycle 1, clone 0, unchanged: val_loss ",
        f"[6/9] cycle 1, clone 1, {loop.log.lineage['change'][1]}: val_loss ",
        "Cycle 1: ",
        "[7/9] cycle 1, winner: val_loss ",
        "[9/9] final training: val_loss ",
        "The last network is the best one: val_loss ",
        "No overfitting: val_loss was the best at the end, ",
        f"Folder: {tmp_path}",
    ]
    assert len(lines) == len(starts)
    assert all(line.startswith(start) for line, start in zip(lines, starts, strict=True))


def test_a_line_is_never_broken_and_brackets_are_no_markup():
    output = console()
    change = Change("activation", "[bold]layer/" + "x" * 300 + ": relu -> tanh")
    Lines(output, "val_loss").on_training_end(make_network(change=change))
    assert len(text(output).splitlines()) == 1
    assert "[bold]layer/xxx" in text(output)


def test_the_bar_counts_to_the_last_epoch(tmp_path):
    output = console(terminal=True)
    bar = Bar(output, "val_loss")
    loop = make_loop(tmp_path, m=2, n=2, k=1, c=1, pop_size=2, callbacks=[bar])
    bar.on_run_begin(loop.schedule, "logs/x")
    run(loop)
    # A terminal is written to a few times a second: not every training is seen.
    assert "final training" in str(bar._bar.present)
    bar.on_run_end(load_run(tmp_path))
    shown = text(output)
    assert "MIHA trains 9 epochs" in shown
    assert "9/9 epochs 0:00, 0:00 left" in shown
    assert shown.count("Cycle 1: ") == 1
    assert shown.rstrip().endswith("(`miha show` tells more of it)")


def test_a_decision_is_one_line_and_on_a_terminal_broken_between_words():
    decision = "Cycle 3: batch size 4 -> 8 wins (val_loss 0.25): fittest by 0.02, " + "x" * 130
    lines = Lines(console(), "val_loss")
    lines.on_decision(decision)
    assert text(lines._console) == decision + "\n"
    bar = Bar(console(terminal=True, width=60), "val_loss")
    bar.on_decision(decision)
    bar.close()
    first, second, third = text(bar._console).rstrip().splitlines()[:3]
    assert len(first) <= 60 and second == "  0.02," and third == "  " + "x" * 130


def test_a_narrow_bar_cuts_neither_the_count_nor_the_monitored_value(tmp_path):
    output = console(terminal=True, width=60)
    bar = Bar(output, "val_loss", Budget(patience=99))
    loop = make_loop(tmp_path, m=2, n=2, k=1, c=1, pop_size=2, callbacks=[bar])
    bar.on_run_begin(loop.schedule, "logs/x")
    run(loop)
    bar.close()
    *_, count, _, numbers = text(output).rstrip().splitlines()
    assert "9/<=9 epochs 0:00, 0:00 left" in count
    assert re.match(r"epoch 2 of 2  val_loss [\d.]+  best [\d.]+  loss ", numbers)
    assert max(len(line.split("\r")[-1]) for line in (count, numbers)) <= 60


def test_a_run_that_was_stopped_says_why(tmp_path):
    result = make_run(tmp_path, c=9, target=1e9)
    assert end_lines(result)[0] == f"Stopped: {result.stopped}"


def test_the_bar_shows_loss_and_monitored_value_of_the_last_epoch(bar):
    network = make_network(values=(0.123456,))
    bar.on_run_begin(SCHEDULE, "logs/x")
    bar.on_training_begin(task_of(network.record))
    bar.on_epoch_end(task_of(network.record), network.record.epochs[0])
    bar.close()
    shown = text(bar._bar.console)
    assert "1/9 epochs" in shown and "cycle 1, clone 0: the control" in shown
    assert "epoch 1 of 1  val_loss 0.1235  loss 0.2469" in shown


def test_the_numbers_of_a_bar_are_those_of_what_is_training(bar):
    """The loss of the clone before is not that of the one that has begun."""
    bar.on_run_begin(LONGER, "logs/x")
    first = make_network(values=(0.25, 0.125, 0.1), change=LARGER)
    bar.on_training_begin(task_of(first.record))
    bar.on_epoch_end(task_of(first.record), first.record.epochs[0])
    assert bar._bar.present == (
        "cycle 1, clone 0: batch size 4 -> 8",
        "epoch 2 of 3  val_loss 0.25  loss 0.5",
    )
    bar.on_training_end(first)
    bar.on_training_begin(task_of(make_record(clone=1, values=(0.5, 0.5, 0.5))))
    assert bar._bar.present == ("cycle 1, clone 1: the control", "epoch 1 of 3  best 0.1")


@pytest.mark.parametrize("width", [60, 48])
def test_count_and_time_are_whole_on_a_narrow_terminal(width):
    screen = console(terminal=True)
    screen.width = width
    bar = Bar(screen, "val_loss", Budget(patience=2))
    long = Change("activation", "layer/" + "x" * 300 + ": relu -> tanh")
    bar.on_run_begin(Schedule(100, 300, 100, 100, 20), "logs/x")
    bar._pace._began -= 3 * 3600 + 61
    record = make_record(values=(0.5, 0.25, 0.2), change=long)
    for epoch in record.epochs[:2]:
        bar.on_epoch_end(task_of(record), epoch)
    bar._pace._first_epoch = (bar._pace._last_epoch - 0.25, 1)
    bar._bar.refresh()
    bar.close()
    lines = text(screen).splitlines()
    assert any("2/<=610200 epochs 3:01:01, 42:22:" in line and " left" in line for line in lines)
    assert any(line.startswith("epoch 3 of 3  val_loss 0.25") for line in lines)
    assert max(len(line.split("\r")[-1]) for line in lines[1:]) <= width


def test_the_bar_shows_a_monitored_loss_once(bar):
    network = make_network(values=(0.5,))
    bar._monitor = "loss"
    bar.on_run_begin(SCHEDULE, "logs/x")
    bar.on_epoch_end(task_of(network.record), network.record.epochs[0])
    bar.close()
    assert bar._bar.present[1] == "epoch 1 of 1  loss 1  val_loss 0.5"


def test_the_bar_counts_the_epochs_that_a_diverged_clone_did_not_need(bar):
    network = diverged()
    bar.on_run_begin(LONGER, "logs/x")
    bar.on_epoch_end(task_of(network.record), network.record.epochs[0])
    bar.on_training_end(network)
    bar.close()
    assert "3/11" in text(bar._bar.console)


def test_the_bar_does_not_go_back_while_clones_train_together(bar):
    networks = [make_network(clone=clone, values=(0.5, 0.4)) for clone in range(2)]
    bar.on_run_begin(SCHEDULE, "logs/x")
    found = []
    for network in networks:
        bar.on_training_begin(task_of(network.record))
    for epoch in range(2):
        for network in networks:
            bar.on_epoch_end(task_of(network.record), network.record.epochs[epoch])
            found.append(bar._bar.tasks[0].completed)
    for network in networks:
        bar.on_training_end(network)
        found.append(bar._bar.tasks[0].completed)
    bar.close()
    assert found == [1, 2, 3, 4, 4, 4]


def test_a_line_counts_the_epochs_that_a_diverged_clone_did_not_need():
    output = console()
    lines = Lines(output, "val_loss")
    lines.on_run_begin(LONGER, "logs/x")
    lines.on_training_end(diverged())
    assert "[3/11] cycle 1, clone 0, unchanged: val_loss nan\n" in text(output)


@pytest.mark.parametrize("make", [Lines, Bar])
def test_a_run_that_may_end_before_has_at_most_so_many_epochs(make):
    shown = make(screen := console(terminal=True), "val_loss", Budget(patience=2))
    shown.on_run_begin(SCHEDULE, "logs/x")
    shown.on_training_end(make_network(values=(0.5, 0.4)))
    shown.close()
    assert "MIHA trains at most 9 epochs" in text(screen) and "fewer where patience=2" in text(
        screen
    )
    assert ("[2/<=9]" if make is Lines else "2/<=9 epochs") in text(screen)


def test_the_bar_leaves_the_terminal_as_it_was(bar):
    bar.on_run_begin(SCHEDULE, "logs/x")
    bar.close()
    written = bar._bar.console.file.getvalue()
    assert written.count("\x1b[?25l") == written.count("\x1b[?25h") == 1  # The cursor.


def test_a_bar_that_has_not_begun_can_be_closed(bar):
    bar.close()
    bar.close()
    assert text(bar._bar.console).strip() == ""


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (("initial", None, None), "initial training"),
        (("clone", 3, 4), "cycle 3, clone 4"),
        (("winner", 3, None), "cycle 3, winner"),
        (("final", None, None), "final training"),
    ],
)
def test_a_training_has_a_place_in_words(where, words):
    record = make_record(*where)
    assert place(record) == place(task_of(record)) == words


@pytest.mark.parametrize("make", [Lines, Bar])
def test_a_run_that_goes_on_counts_what_is_done(make):
    shown = make(screen := console(terminal=True), "val_loss")
    shown.on_run_begin(LONGER, "logs/x")
    first = make_record("initial", None, None, (0.5, 0.4))
    clones = [make_record(clone=clone, values=(0.4, 0.3, 0.2)) for clone in range(2)]
    shown.on_resume([first, *clones])
    shown.on_training_end(make_network(phase="winner", clone=None, values=(0.5,)))
    shown.close()
    assert "Goes on after 3 of 5 trainings" in text(screen)
    assert shown._done == 2 + 3 + 3 + 1


def test_a_run_that_is_finished_says_so():
    shown = Lines(screen := console(), "val_loss")
    shown.on_run_begin(SCHEDULE, "logs/x")
    phases = {"initial": 2, "clone": 4, "winner": 1, "final": 2}
    shown.on_resume([make_record(phase, values=(0.5,) * n) for phase, n in phases.items()])
    assert "[9/9] The run was finished before: nothing is trained" in text(screen)
