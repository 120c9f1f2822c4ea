"""Runs as jobs of Slurm: submitit's local executor, and, soaking, a real Slurm of one node."""

import os
import random
import secrets

import pytest
import slurm_node
import typer

import faulty
import pictures
import tiny_runs as runs
from d3data import distill
from d3data.cli.executors import executor_of
from d3data.errors import DeviceError, RunError
from d3data.executors import slurm
from d3data.executors.base import Retries
from d3data.executors.slurm import Slurm

TOKEN = f"D3DATA_TEST={secrets.token_hex(8)}"
FAST = Retries(attempts=5, pause=0.1)
SEED = int(os.environ.get("D3DATA_SOAK_SEED", "0"))
LOCAL = (
    faulty.OF_SUBMITIT if runs.soaking() else [random.Random(SEED).choice(["preempted", "task"])]
)


@pytest.fixture(scope="module", autouse=True)
def _environment():
    with pytest.MonkeyPatch.context() as patch:
        name, _, value = TOKEN.partition("=")
        patch.setenv(name, value)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(slurm, "LOOK", 1.0)
        yield


def completes(fault, step, how, images, whole, folder):
    """Whatever fails a run completes, with the same bits, and leaves nobody and nothing."""
    trap, out, ends = folder / "trap", folder / "run", []
    faulty.set_trap(trap, fault, step)
    while not ends or ends[-1]:
        options = {"data": images, "workers": 1, "executor": how, "save_every": 0.0}
        driver = runs.start(faulty.recipe(trap), out, **options)
        driver.join()
        ends.append(driver.exitcode)
        assert len(ends) <= 2
    assert not trap.exists()
    assert len(ends) == (2 if fault in ("driver", "disk") else 1)
    assert runs.outcome(out) == whole
    assert not [*out.rglob(".*.*"), *out.glob("slurm")]
    runs.until(lambda: not faulty.workers(TOKEN))


@pytest.mark.parametrize("fault", LOCAL)
def test_whatever_fails_under_submitit_a_run_completes(fault, images, whole, tmp_path):
    step = random.Random(SEED).randrange(1, faulty.STEPS)
    completes(fault, step, Slurm(cluster="local", retries=FAST), images, whole, tmp_path)


@pytest.fixture(scope="module")
def _slurm(tmp_path_factory):
    if not runs.soaking():
        pytest.skip("a real Slurm is started by `make soak` (D3DATA_SOAK=1)")
    if wanted := slurm_node.missing():
        pytest.skip(f"no Slurm here: install slurmctld, slurmd and munge ({wanted} are missing)")
    with slurm_node.started(tmp_path_factory.mktemp("slurm")) as conf:
        os.environ["SLURM_CONF"] = str(conf)
        yield


@pytest.mark.usefixtures("_slurm")
@pytest.mark.parametrize("number", range(20) if runs.soaking() else [0])
def test_whatever_fails_under_slurm_a_run_completes(number, images, whole, tmp_path):
    fault = faulty.OF_SLURM[number % len(faulty.OF_SLURM)]
    how = Slurm({"time": 20, "signal_delay_s": 30}, retries=FAST)
    step = random.Random(number).randrange(1, faulty.STEPS)
    completes(fault, step, how, images, whole, tmp_path)


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """What a pretended Slurm is asked: a file that its sbatch adds scripts to."""
    log = tmp_path / "asked"
    answers = {
        "srun": "",
        "sbatch": f'cat "$1" >>{log}; echo Submitted batch job 7',
        "squeue": "echo 7_0 7_1",
        "scancel": f'echo scancel "$@" >>{log}',
    }
    for name, answer in answers.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{answer}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return log


def test_jobs_are_one_array_with_the_options_of_the_command_line_and_of_a_file(sbatch, tmp_path):
    told = tmp_path / "site.toml"
    told.write_text('partition = "long"\naccount = "me"\nreservation = "now"\n')
    how = executor_of("slurm", 3, None, 1.0, False, [str(told), "partition=gpu", "time=90"])
    assert how.resources("cuda").device == "cuda"
    jobs = [
        faulty.Where(name=f"where {n}", folder=tmp_path, device="cuda", threads=4, count=2)
        for n in range(2)
    ]

    class Stopped(Exception):
        pass

    def stop(job, progress):
        raise Stopped

    outcomes = how.run(jobs, watch=stop)
    slurm.write_json(tmp_path / "said.json", {"progress": {"stage": "where"}})
    original, slurm._read = slurm._read, lambda place: original(tmp_path / "said.json")
    try:
        with pytest.raises(Stopped):
            next(outcomes)
    finally:
        slurm._read = original
    asked = sbatch.read_text()
    for flag in (
        "partition=gpu", "account=me", "reservation=now", "time=90", "cpus-per-task=4",
        "gpus-per-node=1", "array=0-1%2", "requeue", "signal=USR2@120",
    ):  # fmt: skip
        assert f"#SBATCH --{flag}\n" in asked
    assert "scancel 7_0 7_1" in asked, "a driver that is stopped ends its jobs"


def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(DeviceError, match="compute on cpu or cuda, not on 'mps'"):
        distill.run(faulty.recipe(), out=tmp_path / "run", executor="slurm", device="mps")
    monkeypatch.setenv("PATH", str(tmp_path))
    images = pictures.image_folder(tmp_path / "images")
    with pytest.raises(RunError, match="there is no Slurm here"):
        distill.run(faulty.recipe(), out=tmp_path / "run", executor="slurm", data=images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("slurm", None, "auto", 1.0, False, None), "are for --executor ray"),
        (("ray", None, None, 1.0, False, ["partition=gpu"]), "is for --executor slurm"),
        (("slurm", None, None, 1.0, False, ["gpu"]), "write --slurm KEY=VALUE"),
    ],
)
def test_options_of_another_executor_are_wrong_usage(options, message):
    with pytest.raises(typer.BadParameter, match=message):
        executor_of(*options)
