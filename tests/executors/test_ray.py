"""Ray: what is refused without it; with it (slow tests), real workers, really killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from types import SimpleNamespace

import pytest
from executor_contract import SCHEDULE, ExecutorContract, here, is_faster, story, values
from fakes import GENOME, FakeTrainer, make_job, make_loop, run
from paths import ROOT, SUPPORT

from miha import RayExecutor
from miha.callbacks import Callback
from miha.errors import ArgumentError, MihaError, MihaWarning
from miha.executors.factory import choose_executor
from miha.executors.ray import check_address
from miha.mutations import LearningRateMutation
from miha.results.reader import load_run
from miha.storage.journal import Journal
from miha.utils.optional import MissingPackageError

CHILD = SUPPORT / "ray_child.py"
NODE = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}
SMALL = {"Alive": True, "Resources": {"CPU": 2.0}}
GONE = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}


def places(executor, *nodes, most=100):
    return executor._count(list(nodes), most)


def test_without_ray_it_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'miha\[ray\]'"):
        choose_executor("ray")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": 0}, "`workers` must be an integer >= 1"),
        ({"cpus_per_clone": 0}, "`cpus_per_clone` must be a number > 0"),
        ({"cpus_per_clone": "2"}, "`cpus_per_clone` must be a number > 0"),
        ({"gpus_per_clone": -1}, "`gpus_per_clone` must be a number >= 0"),
        ({"timeout": 0}, "`timeout` must be a number > 0"),
        ({"start_timeout": float("nan")}, "`start_timeout` must be a number > 0"),
        ({"load_data": [1]}, "`load_data` must be a function"),
    ],
)
def test_arguments_that_break_a_rule_are_refused_before_ray_is_looked_for(changes, message):
    with pytest.raises(ArgumentError, match=message):
        choose_executor(RayExecutor(**changes))


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "head", "host:", ":6379", "a:b"])
def test_an_address_is_a_host_and_a_port(address):
    with pytest.raises(ArgumentError, match="`address` must be 'host:port'"):
        check_address(address)


def test_an_address_where_nobody_answers_is_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ArgumentError, match=f"Received: '{address}'.*ray start --head"):
        check_address(address)


def test_there_are_as_many_workers_as_there_is_place_for():
    assert places(RayExecutor(), NODE, SMALL) == 6
    assert places(RayExecutor(workers=3), NODE, SMALL) == 3
    assert places(RayExecutor(workers=30), NODE, SMALL) == 6
    assert places(RayExecutor(cpus_per_clone=3), NODE, SMALL) == 1
    assert places(RayExecutor(gpus_per_clone=0.25), NODE, SMALL) == 4
    assert places(RayExecutor(cpus_per_clone=0.1), SMALL) == 20


def test_more_than_any_machine_has_is_refused():
    with pytest.raises(ArgumentError, match="machine of the cluster has: 1. .*gpus_per_clone=2"):
        places(RayExecutor(gpus_per_clone=2), NODE, SMALL, GONE)
    with pytest.raises(ArgumentError, match="machine of the cluster has: 4. .*cpus_per_clone=5"):
        places(RayExecutor(cpus_per_clone=5), NODE, SMALL, GONE)
    gpus = {"Alive": True, "Resources": {"CPU": 1.0, "GPU": 8.0}}
    with pytest.raises(ArgumentError, match="which none has together"):
        places(RayExecutor(cpus_per_clone=4, gpus_per_clone=8), NODE, gpus)


def test_a_cluster_that_grows_is_asked_for_more_than_it_has():
    assert places(RayExecutor(gpus_per_clone=8, autoscaling=True), SMALL, most=12) == 12
    assert places(RayExecutor(workers=5, autoscaling=True), SMALL, most=12) == 5


def test_a_users_environment_stands_above_what_is_chosen():
    executor = RayExecutor(
        cpus_per_clone=2,
        runtime_env={"working_dir": ".", "env_vars": {"OMP_NUM_THREADS": "7"}},
    )
    job = SimpleNamespace(environment={"KERAS_BACKEND": "jax"})
    options = executor._options(job)
    variables = options["runtime_env"]["env_vars"]
    assert options["runtime_env"]["working_dir"] == "." and options["num_cpus"] == 2
    assert variables["OMP_NUM_THREADS"] == "7" and variables["KERAS_BACKEND"] == "jax"
    assert executor.runtime_env["env_vars"] == {"OMP_NUM_THREADS": "7"}


# From here on with a real Ray.


@pytest.fixture(scope="module")
def ray():
    """A Ray on this machine, with two cores."""
    ray = pytest.importorskip("ray", reason="pip install 'miha[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield ray
    ray.shutdown()


@pytest.fixture(autouse=True)
def ray_where_it_is_needed(request):
    """Skip what runs on a real Ray where there is none: the slow tests."""
    if request.node.get_closest_marker("slow"):
        pytest.importorskip("ray", reason="pip install 'miha[ray]'")


def child(folder, workers, *arguments, **environment):
    """Begin a run in a process of its own."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(CHILD.parent), *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-u", CHILD, str(folder), str(workers), *map(str, arguments)],
        env={**os.environ, **threads, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process, seconds=240):
    """Return what a finished run tells of itself."""
    out, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(out.splitlines()[-1])


@pytest.fixture
def begin(ray):
    """Return what starts workers; they end with the test, or make place for the next ones."""
    begun = []

    def make(make_trainer=FakeTrainer, **changes):
        while begun:
            begun.pop().close()
        executor = RayExecutor(**{"start_timeout": 60, **changes})
        begun.append(executor.start(make_job(make_trainer)))
        return begun[-1]

    yield make
    while begun:
        begun.pop().close()


@pytest.mark.slow
class TestRay(ExecutorContract):
    @pytest.fixture(params=[1, 2])
    def begin(self, begin, request):
        return partial(begin, workers=request.param)


def once(folder, deed):
    """Do a deed in the first process that asks, whatever the genome."""
    with contextlib.suppress(FileExistsError):
        (folder / "done").touch(exist_ok=False)
        deed()


def killed_once(folder, genome):
    once(folder, lambda: os.kill(os.getpid(), signal.SIGKILL))


def stopped_once(folder, genome):
    once(folder, lambda: os.kill(os.getpid(), signal.SIGSTOP))


def asleep_once(folder, genome):
    once(folder, lambda: time.sleep(1000))


def kills_if_faster(genome):
    if is_faster(genome):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_a_worker_that_is_killed_changes_nothing(tmp_path, begin, number):
    run(here(tmp_path / "here"))
    workers = begin(partial(FakeTrainer, fails=partial(killed_once, tmp_path)), workers=number)
    run(make_loop(tmp_path / "away", workers=workers, **SCHEDULE))
    assert (tmp_path / "done").exists()
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert values(tmp_path / "away") == values(tmp_path / "here")
    assert "has lost its worker" in (tmp_path / "away" / "run.log").read_text()


class Killing(Callback):
    """Kills every worker while the winner of a cycle trains."""

    def __init__(self, ray, workers):
        self._ray, self._workers, self.killed = ray, workers, []

    def on_training_begin(self, task):
        if task.phase == "winner" and not self.killed:
            self.killed = self._ray.get([actor.ping.remote() for actor in self._workers._free])
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_workers_that_are_killed_while_they_wait_are_no_fault_of_a_clone(tmp_path, ray, begin):
    run(here(tmp_path / "here", c=3))
    workers = begin(workers=2)
    killing = Killing(ray, workers)
    changes = {**SCHEDULE, "c": 3, "callbacks": [killing]}
    run(make_loop(tmp_path / "away", workers=workers, **changes))
    assert killing.killed  # One at least; the other may not have been ready.
    assert story(tmp_path / "away") == story(tmp_path / "here")
    log = (tmp_path / "away" / "run.log").read_text()
    assert "while it had nothing to do" in log and "has lost its worker" not in log


@pytest.mark.slow
def test_a_clone_that_kills_its_worker_twice_has_failed(tmp_path, begin):
    workers = begin(partial(FakeTrainer, fails=kills_if_faster), workers=2)
    with pytest.warns(MihaWarning, match="has taken 2 workers with it"):
        changes = {**SCHEDULE, "c": 1, "mutations": [LearningRateMutation()]}
        run(make_loop(tmp_path, workers=workers, **changes))
    lineage = load_run(tmp_path).lineage
    assert 0 < lineage["failure"].notna().sum() < 6
    genomes = [e["genome"] for e in Journal(tmp_path / "journal.jsonl").read() if e.get("failure")]
    assert all(genome["learning_rate"] > GENOME.learning_rate for genome in genomes)


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [asleep_once, stopped_once])
def test_a_worker_that_hangs_is_replaced(tmp_path, begin, hangs):
    run(here(tmp_path / "here", c=1))
    make = partial(FakeTrainer, fails=partial(hangs, tmp_path))
    workers = begin(make, workers=2, timeout=4)
    run(make_loop(tmp_path / "away", workers=workers, **{**SCHEDULE, "c": 1}))
    assert story(tmp_path / "away") == story(tmp_path / "here")
    assert "longer than timeout=4" in (tmp_path / "away" / "run.log").read_text()


class Another(FakeTrainer):
    def __init__(self):
        super().__init__(genome=GENOME.replace(batch_size=8 if is_a_worker() else 4))


def is_a_worker():
    return "ray" in sys.modules and sys.modules["ray"].get_runtime_context().get_actor_id()


class Unbuildable(FakeTrainer):
    def __init__(self):
        if is_a_worker():
            raise ModuleNotFoundError("No module named 'mine'")
        super().__init__()


@pytest.mark.slow
def test_a_worker_with_another_network_is_refused(begin):
    with pytest.raises(ArgumentError, match=r"same network.*others, by \['genome'\]"):
        begin(Another)


@pytest.mark.slow
def test_a_network_that_a_worker_cannot_build_is_refused(begin):
    with pytest.raises(ArgumentError, match="able to build the network.*No module named 'mine'"):
        begin(Unbuildable)


@pytest.mark.slow
def test_what_cannot_be_sent_is_refused(begin):
    with pytest.raises(ArgumentError, match="can be sent to another process.*load_data"):
        begin(partial(FakeTrainer, fails=threading.Lock()))


@pytest.mark.slow
def test_more_than_this_machine_has_is_refused(begin):
    with pytest.raises(ArgumentError, match="cpus_per_clone=64"):
        begin(cpus_per_clone=64)
    with pytest.raises(ArgumentError, match="gpus_per_clone=1"):
        begin(gpus_per_clone=1)


@pytest.mark.slow
def test_another_cluster_than_the_one_in_use_is_refused(begin):
    with pytest.raises(ArgumentError, match="Ray that this process uses already"):
        begin(address="10.255.0.1:6379")


@pytest.mark.slow
def test_workers_that_never_come_end_the_run(begin):
    with pytest.raises(MihaError, match="ready within `start_timeout`, 2 s"):
        begin(cpus_per_clone=64, autoscaling=True, start_timeout=2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a run tells that had one core and no Ray."""
    return told(child(tmp_path_factory.mktemp("alone") / "run", 0))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_network_of_keras_becomes_the_same_on_any_number_of_workers(tmp_path, alone, workers):
    assert told(child(tmp_path / "run", workers)) == alone


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_give_the_same_on_a_worker(tmp_path, backend):
    pytest.importorskip(backend)
    flags = "--xla_cpu_multi_thread_eigen=false"  # As a worker of one core has it.
    runs = (
        child(tmp_path / f"{workers}", workers, KERAS_BACKEND=backend, XLA_FLAGS=flags)
        for workers in (0, 1)
    )
    alone, away = map(told, runs)
    assert away == alone


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "tensorflow"])
def test_clones_on_a_worker_and_batches_shared_out_here_go_together(tmp_path, backend):
    pytest.importorskip(backend)
    script = CHILD.with_name("parallel_child.py")
    path = os.pathsep.join([str(CHILD.parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, script, backend, "ray", tmp_path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"state": "finished", "failures": []}
    log = (tmp_path / "run" / "run.log").read_text()
    assert "batches shared out to 2 devices" in log and "Clones train on" in log


@pytest.mark.slow
def test_data_that_each_worker_loads_gives_the_same(tmp_path, alone):
    assert told(child(tmp_path / "run", 1, "load_data")) == alone


@pytest.mark.slow
def test_a_dataset_that_cannot_be_sent_is_refused_before_anything_is_written(tmp_path):
    process = child(tmp_path / "run", 1, "dataset")
    errors = process.communicate(timeout=240)[1]
    assert process.returncode == 1
    assert "can be sent to another process" in errors and "load_data" in errors
    assert not (tmp_path / "run" / "run.json").exists()


def until_journal_has(folder, lines, process):
    """Wait until a run's journal has so many lines, or the run is over."""
    journal = folder / "journal.jsonl"
    while process.poll() is None:
        if journal.exists() and len(journal.read_text().splitlines()) >= lines:
            return
        time.sleep(0.05)


@pytest.mark.slow
def test_a_driver_that_is_killed_goes_on_to_the_same_end(tmp_path, alone):
    for lines in (2, 8):
        process = child(tmp_path / "run", 2)
        until_journal_has(tmp_path / "run", lines, process)
        process.kill()
        process.communicate()
    assert told(child(tmp_path / "run", 2)) == alone


@pytest.mark.slow
def test_a_driver_that_is_terminated_ends_in_order(tmp_path):
    process = child(tmp_path / "run", 1)
    until_journal_has(tmp_path / "run", 2, process)
    process.terminate()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "Run the same script again with these `logs` to go on." in errors


@pytest.mark.slow
def test_the_example_and_the_benchmark_run(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    benchmark = ["benchmarks/workers.py", "--executor", "ray"]
    for script in (["examples/ray_cluster.py", "--cycles", "1"], benchmark):
        command = [sys.executable, str(ROOT / script[0]), *script[1:]]
        command += ["--quick"] if "benchmarks" in script[0] else ["--workers", "1"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert "Ended with" in done.stdout or "populations: local / two workers" in done.stdout
