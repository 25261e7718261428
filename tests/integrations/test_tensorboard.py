"""Runs for TensorBoard, read back by its own readers."""

from __future__ import annotations

import sys

import pytest
from fakes import make_loop, run
from runs import at, crossed, failing, make_run

from miha.callbacks import Callback, notify
from miha.results.reader import load_run
from miha.results.trials import RunView


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "mnist"
    return make_run(path, failing("batch_size"), c=4, pop_size=5)


def scalars(folder):
    """Read every scalar as TensorBoard does: run, tag, step, value."""
    event_file_loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_file_loader"
    )
    found = {}
    for path in sorted(folder.rglob("*tfevents*")):
        for event in event_file_loader.LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    name = path.parent.relative_to(folder).as_posix()
                    found.setdefault((name, value.tag), {})[event.step] = value.simple_value
    return found


def test_tensorboard_reads_the_main_line_and_every_clone(result, tmp_path):
    pytest.importorskip("tensorboard")
    folder = result.to_tensorboard(tmp_path / "board")
    found, view = scalars(folder), RunView.of(result)
    line = {e: v for t in view.main_line for e, v in enumerate(t.curve("val_loss"), t.start + 1)}
    assert found["main_line", "val_loss"] == pytest.approx(line, nan_ok=True)
    assert found["main_line", "genome/batch_size"][1] == 4
    for clone in view.clones:
        name = f"cycle_{clone.cycle:03d}/clone_{clone.clone}"
        told = dict(enumerate(clone.curve("loss"), clone.start + 1))
        assert found[name, "loss"] == pytest.approx(told, nan_ok=True)
        assert ((name, "gain") in found) == (clone.gain is not None)


def test_an_earlier_end_of_a_run_is_not_on_the_main_line(tmp_path):
    pytest.importorskip("tensorboard")
    for cycles in (2, 4):
        # The control wins: it is where the earlier end was.
        result = make_run(tmp_path / "run", c=cycles, margin=1e6)
        folder = result.to_tensorboard(tmp_path / "board")
    assert result.log.set_aside
    view = RunView.of(result)
    line = {e: v for t in view.main_line for e, v in enumerate(t.curve("val_loss"), t.start + 1)}
    assert scalars(folder)["main_line", "val_loss"] == pytest.approx(line, nan_ok=True)
    assert len([*folder.glob("main_line/*")]) == len(view.main_line)


def test_tensorboard_reads_the_hyperparameters_of_every_clone(result, tmp_path):
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    from tensorboard.plugins.hparams import metadata

    folder = result.to_tensorboard(tmp_path / "board")
    for clone in RunView.of(result).clones:
        [path] = (folder / f"cycle_{clone.cycle:03d}/clone_{clone.clone}").iterdir()
        told = {
            value.tag: value.metadata.plugin_data.content
            for event in loader.LegacyEventFileLoader(str(path)).Load()
            for value in event.summary.value
            if value.tag.startswith("_hparams_")
        }
        start = metadata.parse_session_start_info_plugin_data(told[metadata.SESSION_START_INFO_TAG])
        genes = {n: v.string_value or v.number_value for n, v in start.hparams.items()}
        assert genes == clone.genes
        end = metadata.parse_session_end_info_plugin_data(told[metadata.SESSION_END_INFO_TAG])
        assert end.status == (2 if clone.failure else 1)


def test_tensorboard_finds_hyperparameters_that_come_with_an_optimizer(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import backend_context

    result = make_run(tmp_path / "run")
    folder = tmp_path / "board"
    at(result, 6).to_tensorboard(folder)  # While the run goes on, with what there is so far.
    for number, record in enumerate(result.log.trainings):
        if record.cycle == 2:
            genome = record.genome.replace(weight_decay=0.004)
            result.log.trainings[number] = record.replace(genome=genome)
    result.to_tensorboard(folder)
    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(folder))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(folder))
    reader = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asked = context.RequestContext()
    runs = reader.hparams_metadata(asked, "")
    found = reader.experiment_from_metadata(asked, "", True, runs, None)
    names = {info.name for info in found.hparam_infos}
    assert names == {*RunView.of(result).gene_names} and "weight_decay" in names
    tags = {info.name.tag for info in found.metric_infos}
    assert {"val_loss", "gain"} <= tags
    assert "fitness" not in tags


def test_tensorboard_shows_a_fitness_of_the_users_own(tmp_path):
    pytest.importorskip("tensorboard")
    result = make_run(tmp_path / "run", c=1, fitness=lambda curve: 7.25)
    found = scalars(result.to_tensorboard(tmp_path / "board"))
    [end] = found["cycle_001/clone_1", "fitness"].values()
    assert end == 7.25


def test_a_callback_writes_for_tensorboard_while_the_run_goes_on(tmp_path, result):
    pytest.importorskip("tensorboard")
    from miha.integrations.tensorboard import TensorBoard

    board, seen = TensorBoard(), []

    class Looking(Callback):
        def on_cycle_end(self, cycle, clones, winner):
            seen.append(len(list((tmp_path / "run/tensorboard").rglob("*tfevents*"))))

    loop = make_loop(tmp_path / "run", callbacks=[board, Looking()])
    notify([board], Callback.on_run_begin, loop.schedule, str(tmp_path / "run"))
    run(loop)
    notify([board], Callback.on_run_end, load_run(tmp_path / "run"))
    assert seen == sorted(seen) and seen[-1] > 1
    complete = load_run(tmp_path / "run").to_tensorboard(tmp_path / "again")
    assert scalars(tmp_path / "run/tensorboard") == scalars(complete)
    make_loop(tmp_path / "run", overwrite=True, seed=9)
    assert not list((tmp_path / "run").rglob("*tfevents*"))


def test_without_tensorboard_the_message_says_what_to_install(result, monkeypatch, tmp_path):
    for name in ("tensorboard", "tensorboard.compat.proto.event_pb2"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams.plugin_data_pb2", None)
    with pytest.raises(ImportError, match=r"pip install 'miha\[tensorboard\]'"):
        result.to_tensorboard(tmp_path)


def test_a_child_of_two_clones_shows_its_value_where_the_fitter_one_ended(tmp_path):
    pytest.importorskip("tensorboard")
    result = crossed(tmp_path / "run")
    found = scalars(result.to_tensorboard(tmp_path / "board"))
    for child in RunView.of(result).winners.values():
        name = f"cycle_{child.cycle:03d}/clone_3"
        assert found[name, "val_loss"] == {child.end: 0.0}
        assert found[name, "selected"] == {child.end: 1.0}
        assert (name, "fitness") not in found and (name, "loss") not in found
