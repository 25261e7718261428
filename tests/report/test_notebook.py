"""A result in a notebook: HTML without scripts, with its text escaped."""

from __future__ import annotations

import html

from runs import hostile, make_run

from miha.results.trials import RunView


def test_a_result_in_a_notebook_is_html_without_its_own_tags(tmp_path):
    result = make_run(tmp_path, hostile(), c=3, pop_size=6)
    shown = result._repr_html_()
    assert shown.startswith("<div>") and shown.endswith("</div>")
    assert "<script" not in shown
    winners = [clone for clone in RunView.of(result).clones if clone.selected]
    assert shown.count("<tr>") == 1 + len(winners)
    assert html.escape(winners[0].change) in shown


def test_a_result_whose_folder_is_gone_is_shown_in_a_notebook(tmp_path):
    result = make_run(tmp_path / "run")
    (tmp_path / "run/run.json").unlink()
    assert "must hold its `run.json`" in result._repr_html_()


def test_of_many_cycles_the_last_ones_are_shown(tmp_path):
    shown = make_run(tmp_path, c=32)._repr_html_()
    assert shown.count("<tr>") == 1 + 30
    assert "The last 30 of 32 cycles are shown." in shown
