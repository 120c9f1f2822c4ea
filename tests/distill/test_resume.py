"""Whatever is killed, whenever: the same command finishes the run, with the same bits."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

import tiny_runs as runs
from d3data import distill
from d3data.errors import RunLockedError
from d3data.utils.device import find_resources

LONG = {"subtasks": {"count": 2}, "steps": 30, "items_per_class": 1}


@pytest.fixture(scope="module")
def recipe():
    """Two subtasks with every stage that there is."""
    return runs.recipe(
        objective=runs.MTT_AND_DM,
        source={**runs.GAUSSIAN, "residual": True},
        subtasks={"count": 2},
        labels={"teacher": {**runs.EXPERTS, "count": 1}, "epoch": 1, "draws": 1},
        quantize={"steps": 4, "priors": "int4", "decoder": "int8", "labels": "float16"},
    )


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory):
    """What a run gives that nothing disturbed, and the seconds that it takes."""
    out = tmp_path_factory.mktemp("whole")
    warm = runs.PROCESSES.Process(target=time.sleep, args=(0,))
    warm.start()  # and wait for the process that all others are forked from
    warm.join()
    began = time.monotonic()
    runs.finish(recipe, out)
    return runs.outcome(out), time.monotonic() - began


def test_killed_at_random_moments_it_gives_the_same_bits(recipe, whole, tmp_path):
    expected, seconds = whole
    moments = random.Random(os.environ.get("D3DATA_SOAK_SEED", "0"))
    left, number = 20 if runs.soaking() else 3, 0
    while left:
        out, number = tmp_path / str(number), number + 1
        while left and not _finishes(recipe, out, within=moments.uniform(0, 1.2 * seconds)):
            left -= 1
        runs.finish(recipe, out)
        assert runs.outcome(out) == expected
        assert not list(out.rglob(".*.*")), "killed processes left files"


def _finishes(recipe, out, *, within):
    """Whether a run finishes in so many seconds; else it is killed."""
    process = runs.start(recipe, out)
    process.join(within)
    ended = not process.is_alive()
    process.kill()
    process.join()
    assert not ended or process.exitcode == 0
    return ended


def test_killed_workers_and_drivers_lose_nothing_and_leave_nobody(tmp_path, request):
    recipe = runs.recipe(**LONG)
    runs.finish(recipe, tmp_path / "whole")
    out = tmp_path / "run"
    driver = runs.start(recipe, out, executor="processes")
    request.addfinalizer(driver.kill)

    first = runs.until(lambda: _at_work(driver, out, steps=2))
    with pytest.raises(RunLockedError, match=f"in use by process {driver.pid} on"):
        distill.run(recipe, out=out)
    assert distill.status(out).driver.pid == driver.pid
    os.kill(first, signal.SIGKILL)

    second = runs.until(lambda: {_at_work(driver, out, steps=10)} - {first, None}).pop()
    assert "was killed by SIGKILL" in distill.status(out).last_failure
    driver.kill()
    driver.join()
    runs.until(lambda: not runs.lives(second))
    assert distill.status(out).driver is None

    runs.finish(recipe, out)
    assert runs.outcome(out) == runs.outcome(tmp_path / "whole")


def _at_work(driver, out, *, steps):
    """The worker of a driver, once its subtask has taken so many steps."""
    assert driver.is_alive()
    lines = 0
    with contextlib.suppress(FileNotFoundError):
        lines = (out / "subtasks" / "000" / "metrics.jsonl").read_bytes().count(b"\n")
    workers = [pid for pid in runs.children(driver.pid) if _is_worker(pid)]
    return workers[0] if workers and lines >= steps else None


def _is_worker(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return b"d3data.executors.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def test_the_threads_of_the_first_start_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    recipe = runs.recipe()
    distill.run(recipe, out=tmp_path, executor="inline")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    two = find_resources("cpu", 1)
    assert distill.prepare(recipe, out=tmp_path / "new", resources=two).subtasks[0].threads == 2
    assert distill.prepare(recipe, out=tmp_path, resources=two).subtasks[0].threads == 1
