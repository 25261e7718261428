"""Parallel coordinates and pairs: the hyperparameters that varied, or those that are named."""

from __future__ import annotations

import pytest
from drawn import traces, with_genes

from miha.errors import MihaError
from miha.results.trials import RunView
from miha.visualization import plot_pairs, plot_parallel_coordinate


def test_parallel_coordinates_have_an_axis_for_each_gene_that_varied(result):
    [trace] = traces(plot_parallel_coordinate(result))
    names = [dimension["label"] for dimension in trace["dimensions"]]
    assert names == [*RunView.of(result).varied, "gain"]
    assert {len(dimension["values"]) for dimension in trace["dimensions"]} == {25}


def test_genes_can_be_named_and_unknown_ones_are_refused(result):
    [trace] = traces(plot_parallel_coordinate(result, ["batch_size"]))
    assert [d["label"] for d in trace["dimensions"]] == ["batch_size", "gain"]
    assert plot_pairs(result, ["optimizer", "batch_size"]).data
    with pytest.raises(MihaError, match=r"`genes` must name hyperparameters.*'speed'"):
        plot_parallel_coordinate(result, ["speed"])
    with pytest.raises(MihaError, match="Two hyperparameters must"):
        plot_pairs(result, ["optimizer"])


def test_new_genes_have_an_axis_without_being_known(result):
    def more(number, record):
        return {"dropout": {"drop": 0.1 * (number % 3)}, "label_smoothing": 0.1 * (number % 2)}

    [trace] = traces(plot_parallel_coordinate(with_genes(result, more)))
    assert {"dropout.drop", "label_smoothing"} <= {
        dimension["label"] for dimension in trace["dimensions"]
    }


def test_a_gene_that_some_genomes_lack_has_a_place_below_the_others(result):
    some = with_genes(result, lambda n, _: {"weight_decay": 0.5 + 0.1 * (n % 3)} if n % 2 else {})
    [trace] = traces(plot_parallel_coordinate(some))
    [weight_decay] = [d for d in trace["dimensions"] if d["label"] == "weight_decay"]
    assert weight_decay["ticktext"][0] == "–"
    assert min(weight_decay["values"]) == weight_decay["tickvals"][0] < weight_decay["tickvals"][1]


def test_pairs_are_those_with_the_most_values_and_show_every_clone(result, failed_run):
    figure = plot_pairs(result)
    view = RunView.of(result)
    counts = {n: len({str(c.genes.get(n)) for c in view.clones}) for n in view.varied}
    first, second, *_ = sorted(counts, key=lambda name: -counts[name])
    assert figure.layout.title.text == f"{first} and {second}"
    clones = traces(plot_pairs(failed_run))
    assert [trace["name"] for trace in clones] == ["clones", "selected", "failed"]
    assert sum(len(trace["x"]) for trace in clones if trace["name"] != "selected") == 20
