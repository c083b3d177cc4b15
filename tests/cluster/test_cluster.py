"""Two machines of a Ray cluster, on this one; a machine's end, an actor's, and what goes on.

pip install "ray>=2.50,<3" && python -m pytest tests/cluster
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster as Machines  # noqa: E402

from convlstm.server.actor import Actor  # noqa: E402
from convlstm.server.cluster import Cluster  # noqa: E402
from convlstm.server.limits import Limits  # noqa: E402
from convlstm.server.pool import Pool  # noqa: E402
from convlstm.settings import settings_of  # noqa: E402
from tests.server.helpers import DEADLINE, alone, endless_of, small_of, wait_until  # noqa: E402
from tests.workers.test_pool import Asked, _state  # noqa: E402


class Served(Asked):
    """A pool whose workers are on a cluster."""

    def __init__(self, cluster: Cluster, pool: Pool) -> None:
        super().__init__(pool)
        self.cluster, self._closing = cluster, contextlib.ExitStack()
        for each in (cluster, pool):  # the pool first
            self._closing.callback(each.close)

    def nodes(self) -> list[str]:
        return [worker.node for worker in self.pool.workers()]

    def close(self) -> None:
        """End it; once, however often it is asked for."""
        self._closing.close()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """In workers, too: sums over other numbers of threads differ in their last bits."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def all_machines() -> Iterator[Machines]:
    machines = Machines(initialize_head=True, head_node_args={"num_cpus": 0})  # takes no worker
    yield machines
    machines.shutdown()


@pytest.fixture
def machines(all_machines) -> Machines:
    while len(all_machines.worker_nodes) < 2:
        all_machines.add_node(num_cpus=1)
    return all_machines


@pytest.fixture
def serve(machines, tmp_path) -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(device: str = "auto") -> Served:
        cluster = Cluster(machines.address, device, tmp_path)
        made.append(Served(cluster, Pool(cluster.devices, Limits(), tmp_path, cluster.start)))
        return made[-1]

    yield make
    for served in made:
        served.close()


def training(served: Served, count: int, **settings: object) -> dict[str, object]:
    """Start runs, each with a seed of its own; return their configurations."""
    configs = {}
    for seed in range(count):
        run = served.opened()
        configs[run] = small_of("squares", seed=seed, **settings)
        assert served.act("train", run, settings_of(configs[run]))["state"] == "training"
        served.until(run, lambda s: s["state"] == "training" or s["step"] > 0)
    return configs


def test_when_a_machine_dies_its_runs_go_on_with_the_losses_of_unbroken_ones(
    serve, machines, tmp_path
):
    served = serve()
    assert served.pool.wait_ready(DEADLINE) == ["cpu", "cpu"]
    first, second = served.nodes()
    assert {first, second} == {node.node_id for node in machines.worker_nodes}
    configs = training(served, 4, epochs=1200, evaluate_every=100)
    groups = [set(worker.runs) for worker in served.pool._workers]
    assert [len(group) for group in groups] == [2, 2]
    for run in configs:
        served.until(run, lambda s: s["step"] >= 60)
    (dying,) = (node for node in machines.worker_nodes if node.node_id == second)
    machines.remove_node(dying, allow_graceful=False)
    ended = {run: served.until(run, lambda s: s["state"] == "finished") for run in configs}
    assert {run for run in configs if ended[run]["resumed"]} == groups[1]
    assert served.nodes() == [first, first]
    for run, config in configs.items():
        assert served.records(run, tmp_path) == alone(config)


def test_a_dead_machine_costs_a_run_at_most_ten_seconds_of_computing(serve, machines):
    served = serve()
    served.pool.wait_ready(DEADLINE)
    runs = [served.opened() for _ in range(2)]
    for run in runs:
        served.act("train", run, settings_of(endless_of("squares")))
    for run in runs:
        served.until(run, lambda s: s["step"] > 0 and s["seconds"] >= 12)
    (run,) = served.pool._workers[1].runs
    before = served.until(run, lambda s: s["step"] > 0)
    (dying,) = (node for node in machines.worker_nodes if node.node_id == served.nodes()[1])
    machines.remove_node(dying, allow_graceful=False)
    after = served.until(run, lambda s: s["resumed"])
    share = 1 - after["resumed"][-1] / before["step"]
    assert share * before["seconds"] <= 10


def test_an_actor_that_dies_is_started_again_on_its_machine(serve, tmp_path):
    served = serve()
    served.pool.wait_ready(DEADLINE)
    ((run, config),) = training(served, 1, epochs=1200, evaluate_every=100).items()
    served.until(run, lambda s: s["step"] >= 60)
    nodes, before = served.nodes(), served.pool.workers()
    ray.kill(before[0].actor)
    assert served.until(run, lambda s: s["state"] == "finished")["resumed"]
    assert served.nodes() == nodes
    assert served.pool.workers()[0] is not before[0] and served.pool.workers()[1] is before[1]
    assert served.records(run, tmp_path) == alone(config)


def test_an_actor_that_falls_silent_is_replaced_elsewhere_and_does_not_come_back(serve):
    served = serve()
    served.pool.wait_ready(DEADLINE)
    run = served.opened()
    served.act("train", run, settings_of(endless_of("squares")))
    served.until(run, lambda s: s["step"] >= 60)
    nodes = served.nodes()
    process = ray.get(served.pool.workers()[0].actor.__ray_call__.remote(lambda _: os.getpid()))
    os.kill(process, signal.SIGSTOP)  # as a machine does from which nothing comes
    try:
        step = served.until(run, lambda s: s["resumed"])["step"]
        assert served.nodes() == [nodes[1], nodes[1]]
        served.until(run, lambda s: s["step"] > step)
    finally:
        os.kill(process, signal.SIGCONT)
    wait_until(lambda: _state(process) == "Z")


def test_files_come_and_go_through_the_folder(serve, tmp_path):
    served = serve()
    run = served.opened()
    served.act("train", run, settings_of(small_of("squares")))
    served.until(run, lambda s: s["state"] == "finished")
    name, content = served.ask("download", run, "checkpoint", run=run)
    assert name == "squares.safetensors"
    upload, other = tmp_path / "upload", served.opened()
    upload.write_bytes(content)
    reply = served.wait(served.pool.open_file("open_checkpoint", other, upload))
    assert reply["notice"] == {"key": "opened"}
    assert served.until(other, lambda s: not s["shipped"])["step"] == 8
    assert not upload.exists() and not list((tmp_path / "uploads").iterdir())


def test_a_machine_that_does_not_see_the_folder_is_refused_by_name(serve, tmp_path):
    served = serve()
    for mark in tmp_path.glob(".page-*"):  # as if it were another folder there
        mark.unlink()
    said = f"--keep is {tmp_path}: the machine .* must be a folder that all machines share"
    with pytest.raises(ValueError, match=said):
        served.pool.wait_ready(DEADLINE)


def test_a_worker_has_the_cores_of_its_machine(serve, tmp_path):
    serve()

    def threads(_: object) -> tuple[int, int]:
        import torch

        return torch.get_num_threads(), len(os.sched_getaffinity(0))

    for asked, wanted in ((None, lambda cores: cores), ("1", lambda cores: 1)):
        # One that has been given no work: later it looks round, and leaves other programs theirs.
        actor = ray.remote(Actor).options(num_cpus=0).remote(tmp_path, asked, False)
        used, cores = ray.get(actor.__ray_call__.remote(threads), timeout=DEADLINE)
        assert used == wanted(cores)
        ray.kill(actor)


def test_every_gpu_has_a_worker_and_every_machine_without_one(serve, machines):
    lent = machines.add_node(num_cpus=1, num_gpus=2)  # Ray believes it
    try:
        served = serve()
        assert served.cluster.devices == ["auto"] * 4
        assert served.pool.wait_ready(DEADLINE) == ["cpu"] * 4
        assert sorted(map(served.nodes().count, served.nodes())) == [1, 1, 2, 2]
        served.close()
        served = serve("cuda")
        assert served.cluster.devices == ["cuda"] * 2
        with pytest.raises(ValueError, match="device is 'cuda': this machine has none"):
            served.pool.wait_ready(DEADLINE)
        served.close()
    finally:
        machines.remove_node(lent)
    with pytest.raises(ValueError, match="no machine of this cluster lends a GPU"):
        serve("cuda")
