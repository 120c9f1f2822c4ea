"""Runs on a Ray cluster of this machine, and whatever fails under them, here or in processes."""

import contextlib
import os
import random
import secrets

import pytest
import ray
from ray.cluster_utils import Cluster

import faulty
import tiny_runs as runs
from d3data import distill
from d3data.errors import DeviceError, RecipeError
from d3data.executors.base import Done, Retries
from d3data.executors.rays import Ray

TOKEN = f"D3DATA_TEST={secrets.token_hex(8)}"
FAST = Retries(attempts=5, pause=0.1)
SEED = int(os.environ.get("D3DATA_SOAK_SEED", "0"))


def case(number):
    """Whether it is on Ray, what fails, and at which step."""
    chosen = random.Random(number)
    on_ray = chosen.random() < 0.5
    fault = chosen.choice(faulty.OF_RAY if on_ray else faulty.FAULTS)
    return on_ray, fault, chosen.randrange(1, faulty.STEPS)


CASES = range(100)
if not runs.soaking():  # one on Ray that ends processes
    ending = [number for number in CASES if case(number)[:2] in ((True, "worker"), (True, "task"))]
    CASES = [random.Random(SEED).choice(ending)]


@pytest.fixture(scope="module", autouse=True)
def _environment():
    with pytest.MonkeyPatch.context() as patch:
        name, _, value = TOKEN.partition("=")
        patch.setenv(name, value)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield


def patiently(start):
    """Start a node, again if need be: Ray gives it 30 seconds, and a busy machine takes longer."""
    for _ in range(9):
        with contextlib.suppress(Exception):
            return start()
    return start()


@pytest.fixture(scope="module")
def cluster(_environment):
    """A head without processors, and nodes with two each, of which a fault may end some."""
    sooner = {"health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    options = {"num_cpus": 0, "include_dashboard": False, "_system_config": sooner}
    made = patiently(lambda: Cluster(initialize_head=True, head_node_args=options))
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def address(cluster):
    """That of the cluster, once it has a node to spare."""
    alive = [node for node in cluster.worker_nodes if not node.dead_processes()]
    for _ in range(2 - len(alive)):
        patiently(lambda: cluster.add_node(num_cpus=2, num_gpus=1))
    return cluster.address


def test_half_a_gpu_has_two_jobs_share_one(address, tmp_path):
    jobs = [
        faulty.Where(name=f"where {n}", folder=tmp_path, device="cuda", threads=1, count=2)
        for n in range(2)
    ]
    how = Ray(address, gpus=0.5)
    assert how.resources("cuda").workers == 4
    outcomes = [*how.run(jobs, watch=lambda job, at: None)]
    assert sorted(one.job.name for one in outcomes if one == Done(one.job)) == [
        "where 0",
        "where 1",
    ]
    assert {path.read_text() for path in tmp_path.glob("where*")} == {"0"}


def test_jobs_that_no_node_has_room_for_are_refused_before_anything_is_written(address, tmp_path):
    out = tmp_path / "run"
    for how, device, message in (
        (Ray(address, gpus=2), "cuda", "takes 1 CPUs and 2 GPUs, and no node .* --device cpu"),
        (Ray(address), "cuda:1", "compute on cpu or cuda, not on 'cuda:1'"),
    ):
        with pytest.raises(DeviceError, match=message):
            distill.run(faulty.recipe(), out=out, executor=how, device=device)
    with pytest.raises(RecipeError, match=r"a part of one, or whole GPUs, got 1\.5"):
        distill.run(faulty.recipe(), out=out, executor=Ray(address, gpus=1.5))
    assert not out.exists()
    wide = faulty.Where(name="where", folder=tmp_path, device="cpu", threads=3, count=1)
    with pytest.raises(DeviceError, match="takes 3 CPUs, and no node"):
        [*Ray(address).run([wide], watch=lambda job, at: None)]


def test_files_are_carried_where_no_disk_is_shared(address, images, tmp_path):
    """Experts, checkpoints and results too: on the nodes, nobody opens the run's folder."""
    recipe = runs.recipe(
        task={"name": "toys"},
        source={"kind": "pixels"},
        optimizers={"pixels": {"learning_rate": 0.1}},
        objective={**runs.MTT, "experts": {**runs.EXPERTS, "count": 1}},
    )
    options = {"data": images, "executor": Ray(address, carried=True, retries=FAST)}
    runs.finish(recipe, tmp_path / "here", data=images)
    runs.finish(recipe, tmp_path / "there", **options)
    assert runs.outcome(tmp_path / "there") == runs.outcome(tmp_path / "here")
    assert not (tmp_path / "there" / ".jobs").exists()


@pytest.mark.parametrize("number", CASES)
def test_whatever_fails_a_run_completes_with_the_same_bits(
    number, images, whole, tmp_path, request
):
    """Nothing is done twice, and neither a process nor a temporary file is left."""
    on_ray, fault, step = case(number)
    trap, out = tmp_path / "trap", tmp_path / "run"
    faulty.set_trap(trap, fault, step)
    options = {"data": images, "workers": 1, "executor": "processes"}
    if on_ray:
        address = request.getfixturevalue("address")
        options["executor"] = Ray(address, workers=1, retries=FAST)
    ends = []
    while not ends or ends[-1]:
        driver = runs.start(faulty.recipe(trap), out, save_every=0.0, **options)
        driver.join()
        ends.append(driver.exitcode)
        assert len(ends) <= 2
    assert not trap.exists()
    assert len(ends) == (2 if fault in ("driver", "disk") else 1)
    assert runs.outcome(out) == whole
    assert not [*out.rglob(".*.*")]
    runs.until(lambda: not faulty.workers(TOKEN))
