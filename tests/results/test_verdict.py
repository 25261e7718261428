"""The verdict: which network to take, whether mutations paid, what to try next."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace

import pytest
from fakes import FakeTrainer, make_loop
from runs import at, crossed, failing, make_run, old_run, rested

from miha.mutations import resolve
from miha.records import Epoch, Judge
from miha.results.reader import load_run
from miha.results.verdict import ending, make_verdict

LONG = {"c": 0, "m": 8}
"""Two trainings of eight epochs: what happens in the second is the end of the run."""


def words_of(result):
    return " ".join(make_verdict(result).sentences)


def curved(result, values, losses=None):
    """Return a run whose epochs had other values, one after another."""
    log = result.log.copy()
    shown = iter(zip(values, losses or values, strict=True))
    for number, record in enumerate(log.trainings):
        epochs = []
        for epoch in record.epochs:
            value, loss = next(shown)
            logs = {"loss": loss, "val_loss": value, "val_accuracy": 1 - value}
            epochs.append(Epoch(logs, epoch.seconds))
        log.trainings[number] = record.replace(
            epochs=tuple(epochs), value=epochs[-1].logs["val_loss"]
        )
    return replace(result, log=log)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run without cycles."""
    return make_run(tmp_path_factory.mktemp("run"), **LONG)


FALLING = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
RISING = [0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.27, 0.28]
LEARNING = [0.9 - 0.05 * number for number in range(16)]


def test_where_the_last_network_is_the_best_it_is_the_one_to_take(straight):
    [networks, course] = ending(straight)
    value = f"{straight.log.last.value:.4g}"
    assert networks == (
        f"The last network is the best one: val_loss {value} after 16 epochs. "
        "Take it: `result.model`, model/model_final.zip."
    )
    assert course == f"No overfitting: val_loss was the best at the end, {value}."


def test_the_end_says_both_values_both_archives_and_since_when_it_overfits(straight):
    [networks, course] = ending(curved(straight, FALLING + RISING, LEARNING))
    assert networks == (
        "The best network is that of the first training: val_loss 0.2 after 8 epochs. "
        "Take it: `result.best_model`, model/model_init.zip. The last network has "
        "val_loss 0.28 after 16 epochs: `result.model`, model/model_final.zip."
    )
    assert course == (
        "The network overfitted: val_loss has risen since epoch 8: 0.2 then, 0.28 now."
    )


def test_where_the_best_network_was_restored_the_end_says_what_was_given_up(straight):
    result = curved(straight, FALLING + RISING, LEARNING)
    last = result.log.trainings[-1]
    result.log.trainings[-1] = last.replace(restored=result.log.trainings[0].archive)
    [networks, course] = ending(result)
    assert networks == (
        "The run ends with its best network, that of the first training: val_loss 0.2 after "
        "8 epochs. Take it: `result.model`, model/model_final.zip. The last network had "
        "val_loss 0.28 after 16 epochs and was given up for it."
    )
    assert course.endswith("0.2 then, 0.28 at the end, which was given up.")


@pytest.mark.parametrize(
    ("accuracy", "best", "words"),
    [
        (0.9, "val_accuracy 0.9 and val_loss 0.28", "did not suffer: 0.8 then, 0.9 at the end."),
        (0.5, "val_accuracy 0.8 and val_loss 0.2", "suffered, too: 0.8 then, 0.5 at the end."),
    ],
)
def test_where_the_best_is_judged_by_a_metric_its_values_are_told(
    straight, monkeypatch, accuracy, best, words
):
    result = curved(straight, FALLING + RISING, LEARNING)
    last = result.log.trainings[-1]
    logs = {**last.epochs[-1].logs, "val_accuracy": accuracy}
    epochs = (*last.epochs[:-1], Epoch(logs, 0.1))
    result.log.trainings[-1] = last.replace(epochs=epochs)
    monkeypatch.setattr(type(result), "judge", Judge("val_accuracy", "max"))
    networks, course = ending(result)
    assert f"(by val_accuracy): {best} after " in networks or f"training: {best} " in networks
    assert course.endswith(f" val_accuracy {words}")


def test_a_value_that_gets_worse_with_the_training_loss_is_no_overfitting(straight):
    [_, course] = ending(curved(straight, FALLING + RISING))
    assert course == (
        "val_loss has risen since epoch 8: 0.2 then, 0.28 now; so has loss in training, which is "
        "no overfitting."
    )


def test_a_value_within_noise_of_its_best_is_no_overfitting(straight):
    noisy = [0.21, 0.19, 0.22, 0.2, 0.21, 0.19, 0.22, 0.205]
    [_, course] = ending(curved(straight, FALLING + noisy, LEARNING))
    assert course == (
        "No overfitting: val_loss was 0.19 at its best, after epoch 14, and is 0.205 at the end."
    )


def test_one_lucky_epoch_before_the_rate_fell_is_no_overfitting(straight):
    band = [0.0836, 0.0928, 0.0961, 0.0884, 0.1005, 0.0851]
    annealed = [0.0945, 0.0941, 0.0938, 0.0936, 0.0935, 0.0934, 0.0933, 0.0933]
    values = [0.2, 0.12, *band, *annealed]
    [_, course] = ending(curved(straight, values, LEARNING))
    assert course.startswith("No overfitting: val_loss was 0.0836 at its best, after epoch 3,")


def test_a_metric_within_its_noise_has_not_suffered(straight, monkeypatch):
    result = curved(straight, FALLING + RISING, LEARNING)
    noisy = [0.96, 0.97, 0.955, 0.968, 0.952, 0.97, 0.96, 0.9733]
    accuracies = iter(noisy + noisy[:-1] + [0.9667])
    for number, record in enumerate(result.log.trainings):
        epochs = []
        for epoch in record.epochs:
            logs = {**epoch.logs, "val_accuracy": next(accuracies)}
            epochs.append(Epoch(logs, 0.1))
        result.log.trainings[number] = record.replace(epochs=tuple(epochs))
    monkeypatch.setattr(type(result), "judge", Judge("val_accuracy", "max"))
    [_, course] = ending(result)
    assert "val_accuracy did not suffer more than its noise: 0.9733 then, 0.9667" in course


def test_an_accuracy_that_falls_has_fallen(straight):
    accuracies = [1 - value for value in FALLING + RISING]
    result = replace(curved(straight, accuracies, LEARNING), mode="max")
    # A training accuracy must rise to have learned.
    log = result.log.copy()
    result = curved(replace(result, log=log), accuracies, LEARNING[::-1])
    assert ending(result)[1].startswith("The network overfitted: val_loss has fallen since epoch 8")


def test_without_validation_data_nothing_is_said_of_overfitting(tmp_path):
    result = make_run(tmp_path, monitor="loss", **LONG)
    assert len(ending(result)) == 1


def test_a_run_that_diverged_from_the_first_has_no_network_to_take(tmp_path):
    result = make_run(tmp_path, FakeTrainer(diverges=lambda genome: True), c=1)
    assert ending(result) == ["No network has a finite val_loss: there is none to take."]
    assert "3 of 3 clones failed" in words_of(result)


def test_an_archive_that_was_not_kept_is_called_so(tmp_path):
    result = make_run(tmp_path, **LONG)
    (tmp_path / "model/model_final.zip").unlink()
    verdict = make_verdict(result)
    assert "`result.model`, model/model_final.zip (not kept)." in verdict.sentences[0]
    assert not any("export" in line for line in verdict.commands.values())


def test_the_verdict_counts_what_mutations_won_gained_and_cost(tmp_path):
    result = make_run(tmp_path, c=4, pop_size=5)
    lineage = result.lineage
    won = lineage[lineage["selected"] & (lineage["gene"] != "none")]
    words = words_of(result)
    assert len(won) and f"Mutations won {len(won)} of 4 cycles with clones, on average " in words
    assert " better in val_loss than the control." in words
    assert re.search(r"\d of 4 populations paid for (its|their) epochs\.", words)
    assert "Clones took 40 of 48 epochs; 8 of theirs led to that network." in words


def test_epochs_of_clones_that_did_not_lead_to_the_network_are_lost(tmp_path):
    trainer = FakeTrainer(script={0: {"val_loss": 0.0}})
    words = words_of(make_run(tmp_path, trainer, restore_best=True))
    assert "; 0 of theirs led to that network." in words


def test_fresh_weights_that_won_are_told_apart_from_mutations():
    words = words_of(old_run("joined"))
    assert "Mutations won 0 of 3 cycles with clones. Fresh weights won cycles 2 and 3." in words
    assert "2 of 3 populations paid for their epochs." in words


def test_a_child_counts_as_a_mutation_that_won(tmp_path):
    assert "Mutations won 2 of 2 cycles with clones, on average " in words_of(crossed(tmp_path))


# What to try next.


def advice_of(result):
    [advice] = [text for text in make_verdict(result).sentences if text.startswith("To try next:")]
    return advice


def test_an_overfitting_network_wants_more_data(straight):
    overfitted = curved(straight, FALLING + RISING, LEARNING)
    assert "more data, or a Dropout layer in the network, since" in advice_of(overfitted)
    for number, record in enumerate(overfitted.log.trainings):
        genome = record.genome.replace(dropout=(("drop", 0.5),))
        overfitted.log.trainings[number] = record.replace(genome=genome)
    assert "more data, since the network overfits" in advice_of(overfitted)


def test_where_no_mutation_won_fewer_cycles_are_advised(tmp_path):
    advice = advice_of(rested(tmp_path))
    assert "fewer cycles (`c`), since no mutation won" in advice
    assert "a narrower `space`, since " in advice


def test_a_kind_of_mutation_that_never_won_is_advised_against(tmp_path):
    mutations = resolve(["optimizer", "batch_size"])
    result = make_run(tmp_path, failing("optimizer"), c=4, pop_size=5, mutations=mutations)
    advice = advice_of(result)
    assert "without 'optimizer', tried 4 times or more, never with a gain" in advice


def test_a_kind_of_mutation_that_gained_most_is_not_advised_against():
    result = old_run("joined")
    lineage = result.lineage
    rates = lineage[lineage["gene"] == "learning_rate"]
    assert len(rates) >= 4 and not rates["selected"].any()
    assert rates["gain"].max() > 0
    assert "'learning_rate'" not in advice_of(result)


def test_a_network_that_still_learns_wants_more_epochs(straight):
    falling = [1 - 0.05 * number for number in range(16)]
    result = curved(straight, falling, LEARNING)
    assert "more `epochs`, since val_loss was the best at the very end" in advice_of(result)


def test_where_nothing_stands_out_another_seed_is_advised(straight):
    flat = FALLING + [0.2] * 8
    assert advice_of(curved(straight, flat, LEARNING)) == (
        "To try next: another `seed`, which shows how much of this was chance."
    )


# What to do with it.


def test_the_lines_to_export_and_to_replay_name_the_folder(tmp_path):
    result = make_run(tmp_path / "my run")
    export, replay = make_verdict(result).commands.values()
    assert export == f"miha export '{tmp_path}/my run' --to network.keras"
    assert f"miha.load_run({str(tmp_path / 'my run')!r}).schedule" in replay


def test_a_run_that_reached_its_target_gives_nothing_up(tmp_path):
    [networks, _] = ending(make_run(tmp_path, c=9, target=0.5))
    assert networks.startswith("The run ends with its best network, that of cycle ")
    assert networks.endswith("Take it: `result.model`, model/model_final.zip.")


def test_a_run_that_goes_on_has_a_verdict_so_far_and_no_advice(tmp_path):
    whole = make_run(tmp_path / "run")
    verdict = make_verdict(at(whole, 6))
    assert "network so far" in verdict.sentences[0]
    words = " ".join(verdict.sentences)
    assert not verdict.commands and "To try next" not in words and "overfitting" not in words


def test_a_run_that_has_not_trained_yet_has_no_verdict(tmp_path):
    make_loop(tmp_path)
    verdict = make_verdict(load_run(tmp_path))
    assert (verdict.sentences, verdict.commands) == ([], {})


@pytest.mark.parametrize("name", ["plain", "joined"])
def test_an_old_run_has_a_verdict(name, tmp_path):
    folder = shutil.copytree(old_run(name).run_dir, tmp_path / name)
    verdict = make_verdict(load_run(folder))
    assert "Take it: `result.model`, model/model_final.zip" in verdict.sentences[0]
    assert len(verdict.commands) == 2
