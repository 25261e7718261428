"""The lineage: who was tried in each cycle, and which way the main line went."""

from __future__ import annotations

from drawn import rewritten, traces

from miha.results.trials import RunView
from miha.visualization import plot_lineage, theme


def nodes(result):
    """Return column, rank and text of each point of the lineage."""
    drawn = [t for t in traces(plot_lineage(result)) if t["type"] == "scatter"]
    return [
        (x, y, text)
        for trace in drawn
        if trace["mode"] == "markers" and trace["name"] != "selected"
        for x, y, text in zip(trace["x"], trace["y"], trace["text"], strict=True)
    ]


def main_line(result):
    """Return the lines of the main line, each from corner to corner."""
    found = []
    strong = traces(plot_lineage(result))[1]
    corners = list(zip(strong["x"], strong["y"], strict=True))
    ends = [i for i, (x, _) in enumerate(corners) if x is None]
    for begin, end in zip([0, *(e + 1 for e in ends)], ends, strict=False):
        found.append(corners[begin:end])
    return found


def test_the_lineage_ranks_the_clones_of_each_cycle(result):
    view, points = RunView.of(result), nodes(result)
    expected = [(0, 1), *((c, r) for c in range(1, 6) for r in range(1, 6))]
    assert sorted(p[:2] for p in points) == expected
    winners = {c.cycle: f"clone {c.clone}" for c in view.clones if c.selected}
    assert all(winners[x] in text for x, y, text in points if y == 1 and x)


def test_what_was_selected_has_a_ring_and_keeps_its_own_symbol(result):
    [rings] = traces(plot_lineage(result), "selected")
    assert list(zip(rings["x"], rings["y"], strict=True)) == [(c, 1) for c in range(1, 6)]
    for trace in traces(plot_lineage(result)):
        if trace.get("name") in RunView.of(result).gene_kinds:
            assert trace["marker"]["symbol"] == theme.symbol(trace["name"])
            assert trace["marker"]["color"] == theme.colour(trace["name"])


def test_the_main_line_of_the_lineage_passes_through_every_winner(result):
    [*_, last] = [c for c in RunView.of(result).clones if c.is_on_main_line]
    strong = main_line(result)
    places = {text.split("</b>")[0]: (x, y) for x, y, text in nodes(result)}
    # From its beginning to the last winner, each line begins where the one before has ended.
    assert strong[0][0] == (0, 1) and strong[-1][-1] == places[f"<b>{last.name}"]
    assert [way[-1] for way in strong[:-1]] == [way[0] for way in strong[1:]]
    assert [way[-1] for way in strong] == [(cycle, 1) for cycle in range(1, 6)]


def test_a_rest_is_a_point_on_the_main_line_of_the_lineage(rested_run):
    [alone] = traces(plot_lineage(rested_run), "the network alone")
    rests = [(trial.cycle, 1) for trial in RunView.of(rested_run).rests]
    assert rests and list(zip(alone["x"], alone["y"], strict=True)) == [(0, 1), *rests]
    strong = main_line(rested_run)
    assert all([(cycle - 1, 1), (cycle, 1)] in strong for cycle, _ in rests)


def test_a_winners_bar_is_its_gain(result):
    winners = [clone for clone in RunView.of(result).clones if clone.selected]
    [bars] = [t for t in traces(plot_lineage(result)) if t["type"] == "bar"]
    assert bars["x"] == [clone.cycle for clone in winners]
    assert [y > 0 for y in bars["y"]] == [clone.gain > 0 for clone in winners]


def test_clones_of_old_runs_that_came_late_or_went_on_from_others_are_simply_clones(result):
    first = next(record.archive for record in result.log.trainings if record.is_clone)

    def older(entry):
        is_first_cycle = entry["phase"] == "clone" and entry["cycle"] == 1
        if not is_first_cycle or entry["archive"] == first:
            return {}
        return {"late": True, "parent": first} if entry["clone"] == 4 else {"parent": [first]}

    points = nodes(rewritten(result, older))
    assert sorted(p[:2] for p in points) == sorted(p[:2] for p in nodes(result))
    assert not any("late" in text for _, _, text in points)
