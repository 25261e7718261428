"""What two runs of the fake trainer must have in common."""

from __future__ import annotations

from fakes import FakeTrainer

from miha.results.reader import load_run


def story(path):
    """Return all that two runs must have in common: lineage, history, the last values."""
    result = load_run(path)
    assert result.state == "finished"
    trainer = FakeTrainer()
    snapshot = trainer.recall((path / "model/model_final.zip").read_bytes())
    values = [array.tobytes() for array in (snapshot.variables[0], *snapshot.slots)]
    history = result.history.drop(columns="seconds").to_dict("split")
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    return repr((history, result.lineage.to_dict("split"), values, result.archives, names))
