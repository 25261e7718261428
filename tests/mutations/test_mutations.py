"""Mutations: each changes its own gene, within the space, by the generator it is given."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from fakes import GENOME, RICH, RICH_SPACE, SPACE

from miha.errors import ArgumentError, MihaError
from miha.mutations import (
    MUTATIONS,
    ActivationMutation,
    BatchSizeMutation,
    LearningRateMutation,
    Mutation,
    OptimizerMutation,
    describe,
    distinct_mutants,
    mutate,
    resolve,
)
from miha.mutations.draw import systematic
from miha.records import Genome

GENES = tuple(field.name for field in fields(Genome))


class Refuses(Mutation):
    gene = "nothing"

    def mutate(self, genome, space, rng):
        return None


class Same(Mutation):
    gene = "same"

    def mutate(self, genome, space, rng):
        return genome.replace()


class Broken(Mutation):
    gene = "broken"

    def mutate(self, genome, space, rng):
        raise KeyError("lost")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def children(mutation, genome=GENOME, space=SPACE, count=200):
    return [mutation.mutate(genome, space, rng(seed)) for seed in range(count)]


def changed(parent, child):
    return {gene for gene in GENES if getattr(parent, gene) != getattr(child, gene)}


@pytest.mark.parametrize(
    ("name", "genes"),
    [
        ("optimizer", {"optimizer", "learning_rate"}),
        ("activation", {"activations"}),
        ("batch_size", {"batch_size"}),
        ("learning_rate", {"learning_rate"}),
        ("weight_decay", {"weight_decay"}),
        ("dropout", {"dropout"}),
        ("noise", {"noise"}),
        ("label_smoothing", {"label_smoothing"}),
        ("input_noise", {"input_noise"}),
        ("augmentation", {"augmentation"}),
    ],
)
def test_a_mutation_changes_its_own_gene_and_no_other(name, genes):
    mutation = MUTATIONS[name]()
    assert mutation.gene == name
    extra = {"weight_decay"} if name == "optimizer" else set()
    for child in children(mutation, RICH, RICH_SPACE):
        assert child != RICH
        assert changed(RICH, child) <= genes | extra


NEW = ("weight_decay", "dropout", "noise", "label_smoothing", "input_noise", "augmentation")


@pytest.mark.parametrize("name", NEW)
def test_a_gene_that_the_network_lacks_does_not_change(name):
    assert MUTATIONS[name]().mutate(GENOME, SPACE, rng()) is None


@pytest.mark.parametrize("name", NEW)
def test_a_gene_with_one_value_only_does_not_change(name):
    whole = getattr(RICH_SPACE, name)
    only = {k: v[:1] for k, v in whole.items()} if isinstance(whole, dict) else whole[:1]
    space = replace(RICH_SPACE, **{name: only})
    assert MUTATIONS[name]().mutate(RICH, space, rng()) is None


def test_every_value_of_a_gene_is_drawn_sometime():
    drawn = {name: children(MUTATIONS[name](), RICH, RICH_SPACE) for name in NEW}
    assert {child.weight_decay for child in drawn["weight_decay"]} == {0.0, 0.1}
    assert {child.label_smoothing for child in drawn["label_smoothing"]} == {0.1}
    assert {child.augmentation for child in drawn["augmentation"]} == {0.5}
    assert {child.input_noise for child in drawn["input_noise"]} == {
        (("x", 0.5), ("y", 0.5)),
        (("x", 0.0), ("y", 0.0)),
    }
    assert {child.noise for child in drawn["noise"]} == {(("noise", 0.0),), (("noise", 0.3),)}
    rates = {child.dropout for child in drawn["dropout"]}
    assert rates == {
        (("drop", 0.0), ("drop_1", 0.2)),
        (("drop", 0.3), ("drop_1", 0.2)),
        (("drop", 0.5), ("drop_1", 0.0)),
    }


def test_a_new_optimizer_begins_with_its_own_weight_decay():
    changed_before = RICH.replace(weight_decay=0.1)
    found = children(OptimizerMutation(), changed_before, RICH_SPACE)
    assert {(child.optimizer, child.weight_decay) for child in found} == {
        *(("sgd", None), ("lion", 0.01), ("adagrad", None))
    }


class Lion(Mutation):
    """One of a user's, who need not know that optimizers have numbers."""

    gene = "optimizer"

    def mutate(self, genome, space, rng):
        return genome.replace(optimizer="lion")


def test_among_optimizers_whose_step_is_their_rate_the_rate_may_stay():
    space = replace(RICH_SPACE, optimizers={"adam": 0.001, "rmsprop": 0.002, "sgd": 0.01})
    held = RICH.replace(optimizer="adam", learning_rate=0.03)
    found = children(OptimizerMutation(), held, space)
    assert {(c.optimizer, c.learning_rate) for c in found} == {("rmsprop", 0.03), ("sgd", 0.01)}
    found = children(OptimizerMutation(keep_step=False), held, space)
    assert {(c.optimizer, c.learning_rate) for c in found} == {("rmsprop", 0.002), ("sgd", 0.01)}


class Fresh(Mutation):
    """One of a user's, whose clones begin with fresh weights."""

    gene = "fresh"
    transition = "restart"

    def __init__(self, batch_size):
        super().__init__()
        self.batch_size = batch_size

    def mutate(self, genome, space, rng):
        return genome.replace(batch_size=self.batch_size)


@pytest.mark.parametrize(
    ("batch_size", "text"), [(4, "fresh weights"), (8, "fresh weights, batch size 4 -> 8")]
)
def test_weights_may_be_fresh_while_the_genome_stays(batch_size, text):
    child, change = mutate(GENOME, [Fresh(batch_size)], SPACE, rng())
    assert child.batch_size == batch_size
    assert (change.gene, change.text, change.transition) == ("fresh", text, "restart")


def test_operators_are_drawn_as_often_as_their_shares_but_for_less_than_one():
    shares = np.array([0.5, 0.3, 0.2])
    for seed in range(50):
        found = Counter(systematic(shares, 7, rng(seed)))
        assert sum(found.values()) == 7
        assert all(abs(found[i] - 7 * share) < 1 for i, share in enumerate(shares))
    assert systematic(shares, 0, rng()) == []


def test_an_optimizer_that_a_users_mutation_sets_begins_with_its_own_weight_decay():
    child, change = mutate(RICH.replace(weight_decay=0.1), [Lion()], RICH_SPACE, rng())
    assert child.weight_decay == 0.01
    assert change.text == "adamw -> lion at 0.005"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"weight_decay": -1.0}, r"a weight_decay of \[0.004, 0.0, 0.1\]"),
        ({"weight_decay": None}, "a weight_decay of"),
        ({"dropout": (("drop", 0.9), ("drop_1", 0.2))}, "rates that their layers may have"),
        ({"dropout": ()}, "the Dropout layers of its parent"),
        ({"noise": (("noise", 9.0),)}, "standard deviations that their layers may have"),
        ({"noise": (("other", 0.1),)}, "the GaussianNoise layers of its parent"),
        ({"label_smoothing": 0.9}, "a label_smoothing of"),
        ({"augmentation": 0.9}, r"a augmentation of \[0.0, 0.5\]"),
        ({"augmentation": None}, "a augmentation of"),
        ({"input_noise": (("x", 0.3), ("y", 0.5))}, "amounts of noise that inputs may get"),
        ({"input_noise": (("x", 0.0),)}, "the inputs of its parent"),
    ],
)
def test_a_users_mutation_must_keep_to_the_space(changes, rule):
    class Strays(Mutation):
        gene = "stray"

        def mutate(self, genome, space, rng):
            return genome.replace(**changes)

    with pytest.raises(MihaError, match=f"A mutation must return {rule}.*Strays"):
        mutate(RICH, [Strays()], RICH_SPACE, rng())


def test_a_long_chain_of_mutations_stays_inside_the_space():
    genome = GENOME
    for seed in range(300):
        genome, _ = mutate(genome, resolve(list(MUTATIONS)), SPACE, rng(seed))
        assert genome.optimizer in SPACE.optimizers
        assert SPACE.batch_size[0] <= genome.batch_size <= SPACE.batch_size[1]
        assert SPACE.learning_rate[0] <= genome.learning_rate <= SPACE.learning_rate[1]
        assert [slot for slot, _ in genome.activations] == list(SPACE.slots)
        assert all(activation in SPACE.slots[slot] for slot, activation in genome.activations)


def test_a_new_optimizer_begins_with_its_own_learning_rate():
    found = {(child.optimizer, child.learning_rate) for child in children(OptimizerMutation())}
    assert found == {("adam", 0.001), ("lion", 0.0005)}


def test_a_new_optimizer_under_a_schedule_has_no_learning_rate():
    space = replace(SPACE, optimizers={"sgd": None, "adam": None})
    child = OptimizerMutation().mutate(GENOME.replace(learning_rate=None), space, rng())
    assert (child.optimizer, child.learning_rate) == ("adam", None)


def test_the_only_optimizer_cannot_be_exchanged():
    space = replace(SPACE, optimizers={"sgd": 0.01})
    assert OptimizerMutation().mutate(GENOME, space, rng()) is None


def test_an_activation_is_exchanged_in_one_slot():
    seen = set()
    for child in children(ActivationMutation()):
        pairs = zip(GENOME.activations, child.activations, strict=True)
        differing = [after for before, after in pairs if before != after]
        assert len(differing) == 1
        seen.update(differing)
    assert seen == {("hidden", "tanh"), ("hidden", "gelu"), ("last", "relu")}


def test_a_slot_with_one_activation_is_left_alone():
    space = replace(SPACE, slots={"hidden": ("relu",), "last": ("tanh", "relu")})
    assert {child.activations for child in children(ActivationMutation(), space=space)} == {
        (("hidden", "relu"), ("last", "relu"))
    }


def test_no_slot_with_a_choice_means_no_activation_to_exchange():
    space = replace(SPACE, slots={"hidden": ("relu",), "last": ("tanh",)})
    assert ActivationMutation().mutate(GENOME, space, rng()) is None
    assert (
        ActivationMutation().mutate(Genome("sgd", 0.1, 4), replace(SPACE, slots={}), rng()) is None
    )


@pytest.mark.parametrize(
    ("size", "bounds", "step", "expected"),
    [
        (4, (1, 16), None, {2, 8}),
        (16, (1, 16), None, {8}),
        (1, (1, 16), None, {2}),
        (12, (5, 16), None, {6, 16}),
        (4, (4, 4), None, set()),
        (40, (10, 100), 10, {30, 50}),
        (95, (10, 100), 10, {85, 100}),
        (5, (3, 5), 10, {3}),
    ],
)
def test_the_batch_size_is_doubled_or_halved_or_moved_by_a_step(size, bounds, step, expected):
    space = replace(SPACE, batch_size=bounds)
    found = children(BatchSizeMutation(step), GENOME.replace(batch_size=size), space)
    assert {child.batch_size for child in found if child} == expected


@pytest.mark.parametrize("step", [0, -1, 2.5, "10"])
def test_a_step_must_be_a_positive_integer(step):
    with pytest.raises(ArgumentError, match="`step` must be an integer"):
        BatchSizeMutation(step)


def test_the_learning_rate_is_multiplied_by_a_fifth_to_five():
    space = replace(SPACE, learning_rate=(1e-6, 1.0))
    factors = [
        child.learning_rate / 0.005 for child in children(LearningRateMutation(), space=space)
    ]
    assert 0.2 <= min(factors) < 0.25
    assert 4.0 < max(factors) <= 5.0
    assert 0.4 < np.mean(np.array(factors) < 1) < 0.6  # Drawn on the log scale.


def test_the_learning_rate_has_three_digits():
    for child in children(LearningRateMutation()):
        assert float(f"{child.learning_rate:.3g}") == child.learning_rate


@pytest.mark.parametrize("bounds", [(0.004, 0.006), (1 / 300, 1 / 150), (0.0049951, 0.0050049)])
def test_the_learning_rate_never_leaves_its_bounds(bounds):
    space = replace(SPACE, learning_rate=bounds)
    for child in filter(None, children(LearningRateMutation(), space=space)):
        assert bounds[0] <= child.learning_rate <= bounds[1]


def test_a_learning_rate_outside_the_bounds_comes_back_into_them():
    for child in children(LearningRateMutation(), GENOME.replace(learning_rate=3.0)):
        assert child.learning_rate == SPACE.learning_rate[1]


def test_a_learning_rate_with_hardly_any_room_goes_to_the_bound():
    space = replace(SPACE, learning_rate=(0.005, 0.00501))
    rates = {child.learning_rate for child in children(LearningRateMutation(), space=space)}
    assert rates == {0.00501}


def test_a_learning_rate_that_has_no_room_does_not_change():
    space = replace(SPACE, learning_rate=(0.005, 0.005))
    assert LearningRateMutation().mutate(GENOME, space, rng()) is None


def test_a_scheduled_learning_rate_does_not_change():
    genome = GENOME.replace(learning_rate=None)
    assert LearningRateMutation().mutate(genome, SPACE, rng()) is None


def test_mutate_says_what_changed():
    genome, change = mutate(GENOME, [BatchSizeMutation()], SPACE, rng())
    assert change.gene == "batch_size"
    assert change.text == f"batch size 4 -> {genome.batch_size}"


def test_mutations_that_can_change_nothing_are_passed_over():
    for seed in range(20):
        _, change = mutate(GENOME, [Refuses(), Same(), BatchSizeMutation()], SPACE, rng(seed))
        assert change.gene == "batch_size"


def test_there_must_be_a_mutation_that_can_change_something():
    with pytest.raises(ArgumentError, match="none of which can change"):
        mutate(GENOME, [Refuses(), Same()], SPACE, rng())


def test_mutations_are_drawn_by_their_weights():
    mutations = [BatchSizeMutation(weight=3.0), LearningRateMutation(weight=1.0)]
    drawn = Counter(mutate(GENOME, mutations, SPACE, rng(seed))[1].gene for seed in range(800))
    assert 0.70 < drawn["batch_size"] / 800 < 0.80


def test_every_mutation_is_drawn_sometime():
    mutations = resolve(list(MUTATIONS))
    drawn = {mutate(RICH, mutations, RICH_SPACE, rng(seed))[1].gene for seed in range(90)}
    assert drawn == set(MUTATIONS)


def test_the_same_generator_gives_the_same_mutant():
    mutations = resolve(list(MUTATIONS))
    assert mutate(GENOME, mutations, SPACE, rng(5)) == mutate(GENOME, mutations, SPACE, rng(5))


def test_mutations_draw_from_no_other_generator():
    before = np.random.get_state()[1].tolist()
    for seed in range(20):
        mutate(GENOME, resolve(list(MUTATIONS)), SPACE, rng(seed))
    assert np.random.get_state()[1].tolist() == before


def test_a_mutation_that_raises_is_named():
    with pytest.raises(MihaError, match=r"mutation Broken raised KeyError\('lost'\)") as caught:
        mutate(GENOME, [Broken()], SPACE, rng())
    assert isinstance(caught.value.__cause__, KeyError)


def test_mutants_all_differ_where_that_is_possible():
    for seed in range(20):
        generators = [rng(100 * seed + i) for i in range(3)]
        mutants = distinct_mutants(GENOME, [ActivationMutation()], SPACE, rng(9), generators)
        assert len({genome for genome, _ in mutants}) == 3


def test_mutants_repeat_where_there_are_too_few():
    mutants = distinct_mutants(
        GENOME, [BatchSizeMutation()], SPACE, rng(9), [rng(i) for i in range(5)]
    )
    assert [change.gene for _, change in mutants] == ["batch_size"] * 5
    assert {genome.batch_size for genome, _ in mutants} == {2, 8}


def test_a_mutant_depends_on_its_own_generator():
    mutation = [LearningRateMutation()]
    alone = distinct_mutants(GENOME, mutation, SPACE, rng(9), [rng(3)])
    among = distinct_mutants(GENOME, mutation, SPACE, rng(9), [rng(1), rng(2), rng(3)])
    assert among[2] == alone[0]


def test_names_and_objects_are_resolved_in_their_order():
    own = BatchSizeMutation(step=10)
    first, second, third = resolve(["learning_rate", own, "optimizer"])
    assert isinstance(first, LearningRateMutation)
    assert second is own
    assert isinstance(third, OptimizerMutation)


@pytest.mark.parametrize("mutations", ["optimizer", [], OptimizerMutation()])
def test_mutations_must_be_a_list(mutations):
    with pytest.raises(ArgumentError, match="`mutations` must be a list of at least one mutation"):
        resolve(mutations)


def test_an_unknown_mutation_is_refused_by_name():
    with pytest.raises(ArgumentError, match="'layers'"):
        resolve(["optimizer", "layers"])


@pytest.mark.parametrize("weight", [0, -1, float("inf"), float("nan"), "2", None])
def test_a_weight_must_be_positive_and_finite(weight):
    with pytest.raises(ArgumentError, match="`weight` must be positive and finite"):
        OptimizerMutation(weight=weight)


def test_a_mutation_describes_its_settings():
    description = BatchSizeMutation(step=10, weight=2).describe()
    assert description == {"class": "BatchSizeMutation", "step": 10, "weight": 2.0}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"batch_size": 8}, "batch size 4 -> 8"),
        ({"learning_rate": 0.01}, "learning rate 0.005 -> 0.01"),
        ({"optimizer": "adam", "learning_rate": 0.001}, "sgd -> adam at 0.001"),
        ({"optimizer": "adam", "learning_rate": None}, "sgd -> adam"),
        ({"activations": (("hidden", "gelu"), ("last", "tanh"))}, "hidden: relu -> gelu"),
        (
            {"batch_size": 8, "activations": (("hidden", "gelu"), ("last", "relu"))},
            "batch size 4 -> 8, hidden: relu -> gelu, last: tanh -> relu",
        ),
    ],
)
def test_a_change_is_described_in_words(changes, text):
    assert describe(GENOME, GENOME.replace(**changes)) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight_decay": 0.0}, "weight decay 0.004 -> 0"),
        ({"dropout": (("drop", 0.5), ("drop_1", 0.0))}, "drop_1: 0.2 -> 0"),
        ({"noise": (("noise", 0.3),)}, "noise: 0.1 -> 0.3"),
        ({"label_smoothing": 0.1}, "label smoothing 0 -> 0.1"),
        ({"input_noise": (("x", 0.0), ("y", 0.0))}, "noise on y: 0.5 -> 0"),
        ({"augmentation": 0.5}, "augmentation 0 -> 0.5"),
        ({"optimizer": "lion", "weight_decay": None}, "adamw -> lion at 0.005"),
    ],
)
def test_a_change_of_a_gene_that_not_every_network_has_is_described(changes, text):
    assert describe(RICH, RICH.replace(**changes)) == text


@pytest.mark.parametrize("gene", ["none", "restart", "crossover", "soup", "", 3, None])
def test_a_gene_needs_a_name_of_its_own(gene):
    class Own(Same):
        pass

    Own.gene = gene
    with pytest.raises(ArgumentError, match=r"`gene` must be a name .* Received: Own with"):
        resolve([Own()])


def test_a_mutation_of_the_users_own_may_leave_out_what_it_does_not_need():
    class Bare(Mutation):
        gene = "bare"

        def __init__(self):
            pass

        def mutate(self, genome, space, rng):
            return genome.replace(batch_size=2)

    assert resolve([Bare()])[0].weight == 1.0

    class Nameless(Mutation):
        def mutate(self, genome, space, rng):
            return None

    with pytest.raises(ArgumentError, match="Nameless with gene=None"):
        resolve([Nameless()])
