"""The verdict on a run: which network to take, whether mutations paid, what to try next.

Every view of a run shows these sentences: terminal, `miha show`, page, notebook.
"""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from miha.records import RESERVED_GENES, Schedule, TrainingRecord, is_better
from miha.results.course import Course
from miha.results.trials import NO_GENE, RunView, TrainingView
from miha.search.ancestry import main_line
from miha.search.reasons import short
from miha.search.rests import worthwhile_cycles

if TYPE_CHECKING:
    from miha.results.result import Result

FEWEST_CYCLES = 2
"""Cycles with clones from which on it means something that no mutation won."""

OFTEN = 4
"""Mutations of a kind, none of which won or gained, after which the verdict advises against it."""

MANY_FAILED = 0.2
"""Share of clones that failed from which on the space is too wide."""


@dataclass(frozen=True)
class Verdict:
    """What a user should know of a run first.

    Attributes:
        sentences: In words, a paragraph each.
        commands: Lines that export the network and replay the run, each with what it does.
    """

    sentences: list[str]
    commands: dict[str, str]


def make_verdict(result: Result, view: RunView | None = None) -> Verdict:
    """Return the verdict on a run, finished, running or interrupted.

    Args:
        result: The run.
        view: Its view, where there is one already.

    Returns:
        Plain text; what a page shows must be escaped.
    """
    if result.log.last is None:
        return Verdict([], {})
    view = view or RunView.of(result)
    sentences = ending(result)
    mutations = _mutations(result, view)
    if mutations:
        sentences.append(mutations)
    if result.state != "finished":
        return Verdict(sentences, {})
    return Verdict([*sentences, _advice(result, view)], _commands(result))


def ending(result: Result) -> list[str]:
    """Return which network is the last, the best, and `result.model`; whether it overfitted."""
    found = [_networks(result)]
    course = Course.of(result)
    # While the run goes on, it is too early to say that a network does not overfit.
    if course is not None and (course.is_worse or result.state == "finished"):
        found.append(course.in_words())
    found += [_earlier_end(result, record) for record in result.log.set_aside]
    return [text for text in found if text]


def _earlier_end(result: Result, end: TrainingRecord) -> str:
    """Return where the end is that a run had before it got more cycles."""
    # A restored end has a network of the lineage; rests at a rate that fell are no end.
    if end.phase != "final" or end.restored is not None:
        return ""
    better = ""
    if end.has_seen_validation:
        better = " on data it has seen"
    elif is_better(end.value, result.best_value, result.mode):
        better = ", better than what came after it"
    return (
        f"The network of the earlier end, which is not part of the lineage, has "
        f"{_value(result, end)}{better}: {_archive(result, str(end.archive))}."
    )


def _networks(result: Result) -> str:
    """Return values and archives of the last and of the best network, and which one to take."""
    last = result.log.last
    if last is None:
        return ""
    if not math.isfinite(result.best_value):
        return f"No network has a finite {result.monitor}: there is none to take."
    if last.restored is not None:
        return _restored(result, last)
    if last.has_seen_validation:
        return _trained_on_all(result, last)

    best = result.best
    last_archive, best_archive = (_archive(result, name) for name in result.archives)
    so_far = "" if result.state == "finished" else " so far"
    by = _by(result)
    if best is last:
        return (
            f"The last network{so_far} is the best one{by}: {_value(result, last)}. "
            f"Take it: `result.model`, {last_archive}."
        )
    return (
        f"The best network{so_far}{by} is that of {_name(best)}: {_value(result, best)}. "
        f"Take it: `result.best_model`, {best_archive}. "
        f"The last network has {_value(result, last)}: `result.model`, {last_archive}."
    )


def _trained_on_all(result: Result, last: TrainingRecord) -> str:
    """Return what a run ends with whose last epochs trained on the validation data, too."""
    before = main_line(result.log.trainings, last)[:-1]
    value = f" Before them it had {_value(result, before[-1])}." if before else ""
    return (
        f"The run ends with its last network, whose last {_epochs(len(last.epochs))} trained on "
        f"the validation data, too: its values there say nothing of new data.{value} "
        f"Take it: `result.model`, {_archive(result, result.archives[0])}."
    )


def _restored(result: Result, last: TrainingRecord) -> str:
    """Return what a run ends with that has given up its last network for an earlier one."""
    best = result.log.resulting or last
    # Where the target was reached, it is the best in the monitored value.
    by = _by(result) if best is result.best else ""
    archive = _archive(result, result.archives[0])
    text = (
        f"The run ends with its best network{by}, that of {_name(best)}: "
        f"{_value(result, best)}. Take it: `result.model`, {archive}."
    )
    # At a target, the last training has no epochs: what it would have gone on from may be the best.
    is_given_up = last.epochs or last.parent != last.restored
    if not is_given_up:
        return text
    return f"{text} The last network had {_value(result, last)} and was given up for it."


def _by(result: Result) -> str:
    """Return what the best network is the best in, where that is not the monitored value."""
    name = result.judge.name
    return "" if name == result.monitor else f" (by {name})"


def _archive(result: Result, name: str) -> str:
    return name if (result.run_dir / name).exists() else f"{name} (not kept)"


def _value(result: Result, record: TrainingRecord) -> str:
    """Return the value that a network is judged by, the monitored one, and its age, in words."""
    values = [f"{result.monitor} {record.value:.4g}"]
    judge = result.judge
    judged = judge.value(record)
    if judge.name != result.monitor and math.isfinite(judged):
        values.insert(0, f"{judge.name} {judged:.4g}")
    return f"{' and '.join(values)} after {_epochs(record.age)}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _name(record: TrainingRecord) -> str:
    if record.is_clone:
        return f"cycle {record.cycle}, clone {record.clone}"
    if record.cycle is not None:
        return f"cycle {record.cycle}"
    return "the first training" if record.phase == "initial" else "the last training"


def _mutations(result: Result, view: RunView) -> str:
    """Return whether mutations paid: cycles won, what was gained, epochs spent and kept."""
    settled = [cycle for cycle in view.cycles if cycle in result.log.winners]
    if not settled:
        return ""
    won = _winning_mutations(view)
    restarts = [clone for clone in won if clone.record.change.is_restart]
    mutants = [clone for clone in won if clone not in restarts]
    cycles = f"{len(settled)} cycle{'' if len(settled) == 1 else 's'} with clones"
    sentences = [f"Mutations won {len(mutants)} of {cycles}{_mean_gain(view, mutants)}."]
    if restarts:
        numbers = _listed([f"{clone.cycle}" for clone in restarts])
        sentences.append(f"Fresh weights won cycle{'s'[: len(restarts) - 1]} {numbers}.")
    sentences += [_worth(result, len(settled)), _epochs_of_clones(result, view)]
    return " ".join(sentences)


def _mean_gain(view: RunView, mutants: Sequence[TrainingView]) -> str:
    gains = [clone.gain for clone in mutants if clone.gain is not None]
    if not gains:
        return ""
    mean = sum(gains) / len(gains)
    word = "better" if mean >= 0 else "worse"
    return f", on average {short(abs(mean))} {word} in {view.monitor} than the control"


def _worth(result: Result, populations: int) -> str:
    """Return how many populations paid, by the rule that decides on rests."""
    schedule = Schedule(**result.arguments["schedule"])
    worthwhile = worthwhile_cycles(result.log, schedule, result.mode)
    paid = sum(worthwhile.values())
    whose = "its" if paid == 1 else "their"
    return f"{paid or 'None'} of {populations} populations paid for {whose} epochs."


def _epochs_of_clones(result: Result, view: RunView) -> str:
    resulting = result.log.resulting
    line = [] if resulting is None else main_line(result.log.trainings, resulting)
    kept = sum(len(record.epochs) for record in line if record.is_clone)
    spent = sum(len(clone.logs) for clone in view.clones)
    every = sum(len(trial.logs) for trial in view.trials)
    return f"Clones took {spent} of {_epochs(every)}; {kept} of theirs led to that network."


def _winning_mutations(view: RunView) -> list[TrainingView]:
    return [clone for clone in view.winners.values() if clone.gene != NO_GENE]


def _advice(result: Result, view: RunView) -> str:
    """Return what to try next, by simple rules; `docs/report.md` states them."""
    course = Course.of(result)
    won = _winning_mutations(view)
    failed = [clone for clone in view.clones if clone.failure]
    advice = []
    if course is not None and course.overfits:
        more = "more data"
        # Other regularisation was tried, but a layer that a network lacks has no gene.
        if not result.genome.dropout:
            more += ", or a Dropout layer in the network"
        advice.append(f"{more}, since the network overfits")
    if len(view.cycles) >= FEWEST_CYCLES and not won:
        advice.append("fewer cycles (`c`), since no mutation won")
    elif _in_vain(view):
        kinds = _listed([f"{kind!r}" for kind in _in_vain(view)])
        advice.append(
            f"`mutations=[...]` without {kinds}, tried {OFTEN} times or more, never with a gain"
        )
    if len(failed) > MANY_FAILED * len(view.clones):
        share = f"{len(failed)} of {len(view.clones)}"
        advice.append(f"a narrower `space`, since {share} clones failed")
    if course is not None and course.still_learns:
        advice.append(f"more `epochs`, since {view.monitor} was the best at the very end")
    if not advice:
        advice.append("another `seed`, which shows how much of this was chance")
    return f"To try next: {'; '.join(advice)}."


def _in_vain(view: RunView) -> list[str]:
    """Return the kinds of mutation that were tried often, none of which won or gained.

    A clone may gain most and yet not win: within the noise of the control, or by another fitness.
    Then the kind has something to give, as the tables and figures of the run show.
    """
    tried = Counter(clone.gene for clone in view.mutations if clone.is_settled)
    won = {clone.gene for clone in _winning_mutations(view)}
    gained = {clone.gene for clone in view.mutations if (clone.gain or 0) > 0}
    # A restart and a child are no mutations that a user could leave out.
    left_out = {*won, *gained, *RESERVED_GENES}
    return [kind for kind in view.gene_kinds if tried[kind] >= OFTEN and kind not in left_out]


def _listed(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _commands(result: Result) -> dict[str, str]:
    """Return the lines that export the network to take, and that replay the run."""
    folder = str(result.run_dir)
    commands = {}
    if (result.run_dir / result.archives[1]).exists():
        commands["To export it"] = f"miha export {shlex.quote(folder)} --to network.keras"
    commands["To train it once more, without the search"] = (
        f"miha.replay(build_network(), x, y, miha.load_run({folder!r}).schedule, "
        "validation_data=(x_val, y_val))"
    )
    return commands
