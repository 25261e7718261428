"""Runs on a terminal: in words, with every clone or the winners, and as a list."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import SCRIPT, hostile, make_run, rested

from miha.cli import main
from miha.errors import JournalError, MihaError
from miha.report.listing import print_runs
from miha.report.terminal import check_run, print_run
from miha.results.trials import RunView
from miha.results.verdict import make_verdict


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def printed(capsys, show, *arguments):
    show(*arguments)
    return " ".join(capsys.readouterr().out.split())


def test_a_run_is_printed_with_its_winners_or_with_every_clone(capsys, result):
    view = RunView.of(result)
    winners = printed(capsys, print_run, result.run_dir)
    assert "The run is finished: 3 of 3 cycles" in winners and "Who won each cycle" in winners
    for cycle, clone in view.winners.items():
        assert f"│ {cycle} │ {clone.clone} │ {clone.change} │" in winners
    every = printed(capsys, print_run, result.run_dir, True)
    assert "All clones" in every
    for clone in view.clones:
        assert f"│ {clone.cycle} │ {clone.clone} │ {clone.change} │" in every


def test_another_metric_has_a_column_of_its_own(capsys, result):
    shown = printed(capsys, print_run, result.run_dir, True, ["val_accuracy"])
    assert "val_accuracy" in shown
    for clone in RunView.of(result).clones:
        assert f"│ {clone.value:.4g} │ {clone.curve('val_accuracy')[-1]:.4g} │" in shown
    with pytest.raises(MihaError, match=r"`--metric` must name a value that was logged: val_loss"):
        print_run(result.run_dir, metrics=["acc"])
    assert main(["show", str(result.run_dir), "--metric", "loss"]) == 0


def test_the_verdict_stands_on_top_and_each_winner_has_its_reason(capsys, result):
    shown = printed(capsys, print_run, result.run_dir)
    verdict = make_verdict(result)
    assert shown.startswith("Verdict ")
    for text in [*verdict.sentences, *verdict.commands, *verdict.commands.values()]:
        assert text in shown.split("The run is finished")[0]
    assert "fitness" not in shown
    for clone in RunView.of(result).winners.values():
        assert f"│ {clone.reason} │" in shown


@pytest.mark.parametrize("width", [60, 80])
def test_in_a_narrow_terminal_a_reason_stands_below_its_mutation(
    capsys, result, monkeypatch, width
):
    monkeypatch.setenv("COLUMNS", str(width))
    print_run(result.run_dir)
    lines = capsys.readouterr().out.splitlines()
    too_long = [line for line in lines if len(line) > width]
    # Lines that are to be copied are not broken.
    assert all("miha export" in line or "miha.replay" in line for line in too_long)
    assert sum("→ " in line for line in lines) == len(RunView.of(result).winners)


def test_a_rest_has_a_row_that_says_why(capsys, tmp_path):
    shown = printed(capsys, print_run, rested(tmp_path).run_dir)
    assert "the network alone" in shown and "│ no mutation was worth its epochs │" in shown


def test_a_fitness_of_the_users_own_is_shown(capsys, tmp_path):
    shown = printed(capsys, print_run, make_run(tmp_path, fitness=lambda curve: 7.25).run_dir)
    assert "fitness" in shown and "│ 7.25 │" in shown


def test_text_of_a_run_is_no_markup_on_the_terminal(capsys, tmp_path):
    make_run(tmp_path / "[red]run", hostile(), c=3, pop_size=6)
    assert SCRIPT in printed(capsys, print_run, tmp_path / "[red]run", True)
    assert "[red]run" in printed(capsys, print_runs, tmp_path)


def test_a_folder_that_is_no_run_is_refused_with_the_last_run_nearby(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_run(result.run_dir)
    with pytest.raises(JournalError, match="is not there. Name the folder of a run, such as"):
        check_run(result.run_dir.parent / "other")
    (tmp_path / "empty").mkdir()
    with pytest.raises(JournalError, match=r"holds none. Name the folder of a run\.$"):
        check_run(tmp_path / "empty")
    make_run(Path("logs/a"))
    with pytest.raises(JournalError, match="such as 'logs/a'"):
        check_run(tmp_path / "empty")
