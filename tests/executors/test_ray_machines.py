"""Ray on two machines of which one is lost; apart from `test_ray`, which has a Ray of its own."""

from __future__ import annotations

import time
from functools import partial

import pytest
from executor_contract import SCHEDULE, here, story, values
from fakes import FakeTrainer, make_job, make_loop, run

from miha import RayExecutor
from miha.callbacks import Callback


def sleeps(genome):
    time.sleep(0.4)


class Losing(Callback):
    """Takes a machine away when the first clone of a cycle is in, others being at work."""

    def __init__(self, take):
        self._take = take

    def on_training_end(self, network):
        if network.record.clone == 0 and network.record.cycle == 1:
            self._take()


@pytest.mark.slow
def test_a_machine_that_is_lost_changes_nothing(tmp_path):
    pytest.importorskip("ray", reason="pip install 'miha[ray]'")
    from ray.cluster_utils import Cluster

    run(here(tmp_path / "here"))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    executor = RayExecutor(address=cluster.address, start_timeout=60)
    executor.check()
    workers = executor.start(make_job(partial(FakeTrainer, fails=sleeps)))
    try:
        losing = Losing(lambda: cluster.remove_node(nodes[1], allow_graceful=False))
        run(make_loop(tmp_path / "away", workers=workers, callbacks=[losing], **SCHEDULE))
    finally:
        workers.close()
        cluster.shutdown()
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert values(tmp_path / "away") == values(tmp_path / "here")
    assert "has lost its worker" in (tmp_path / "away" / "run.log").read_text()
