import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

import pictures
import tiny_runs as runs
from d3data.distill.experts import ExpertPlan
from d3data.distill.jobs import ExpertJob
from d3data.errors import DataError, JobError, RunError
from d3data.executors import base
from d3data.executors.base import Done, Failed, Inline, Job, Retries
from d3data.executors.processes import Processes
from d3data.utils.progress import Progress

FAST = Retries(attempts=3, pause=0.01)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return pictures.image_folder(tmp_path_factory.mktemp("images"))


@pytest.fixture
def job(place, tmp_path):
    return jobs(place, tmp_path, count=1)[0]


def jobs(place, out, *, count, epochs=1):
    """Experts on a few pictures: the smallest of jobs."""
    recipe = runs.recipe(task={"name": "toys"})
    plan = ExpertPlan(**{**runs.EXPERTS, "epochs": epochs, "batch": 2})
    return [
        ExpertJob(
            name=f"expert {index}",
            folder=out,
            recipe=recipe,
            data=str(place),
            classes=(0, 1),
            device="cpu",
            threads=1,
            plan=plan,
            index=index,
            path=out / f"{index}.safetensors",
        )
        for index in range(count)
    ]


def nothing(job, progress):
    pass


def workers():
    """The worker processes of this one."""
    pids = runs.children(os.getpid())
    return [p for p in pids if b"executors.worker" in Path(f"/proc/{p}/cmdline").read_bytes()]


class Calls:
    """Fails in its own way as often as it is told to."""

    def __init__(self, *failures):
        self.failures, self.count = list(failures), 0

    def __call__(self):
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)


def test_a_job_survives_json(job):
    assert Job.heard(job.told()) == job


def test_what_fails_for_no_fault_of_ours_is_tried_again_after_growing_pauses(job):
    once, pauses = Calls(OSError("a"), MemoryError("b")), []
    outcomes = list(Retries(attempts=3, pause=2.0).outcomes(job, once, pauses.append))
    assert [type(outcome) for outcome in outcomes] == [Failed, Failed, Done]
    assert [(o.attempt, o.last) for o in outcomes[:2]] == [(1, False), (2, False)]
    assert pauses == [2.0, 4.0]


def test_a_job_that_always_fails_is_given_up(job):
    once = Calls(*[ValueError("no")] * 9)
    outcomes = list(FAST.outcomes(job, once))
    assert [outcome.last for outcome in outcomes] == [False, False, True]
    assert isinstance(outcomes[-1].error, JobError)
    assert "expert 0 failed: no" in str(outcomes[-1].error)
    assert once.count == 3


def test_an_error_of_ours_is_not_tried_again(job):
    once = Calls(DataError("no images"))
    [outcome] = FAST.outcomes(job, once)
    assert outcome.last
    assert isinstance(outcome.error, DataError)


def test_inline_does_jobs_in_their_order_and_reports(place, tmp_path):
    wanted, seen = jobs(place, tmp_path, count=3), []
    outcomes = list(Inline().run(wanted, watch=lambda job, at: seen.append((job.name, at.step))))
    assert outcomes == [Done(job) for job in wanted]
    assert all(job.done for job in wanted)
    assert [name for name, step in seen if step == 3] == ["expert 0", "expert 1", "expert 2"]


def test_a_killed_worker_costs_an_attempt_errors_come_as_themselves_and_stopping_ends_workers(
    place, tmp_path
):
    long, short = jobs(place, tmp_path, count=1, epochs=60)[0], jobs(place, tmp_path, count=2)[1]
    [lost] = jobs(tmp_path / "nowhere", tmp_path / "lost", count=1)
    blocked = jobs(place, tmp_path / "file" / "below", count=1)[0]
    (tmp_path / "file").write_text("not a folder")
    endless = jobs(place, tmp_path, count=3, epochs=10**6)[2]
    killed = []

    def kill(job, progress):
        if not killed:
            killed.extend(workers())
            os.kill(killed[0], signal.SIGKILL)

    executor = Processes(1, retries=FAST)
    with closing(executor.run([long, short, lost, blocked, endless], watch=kill)) as outcomes:
        first = next(outcomes)
        assert isinstance(first, Failed)
        assert not first.last
        assert "was killed by SIGKILL" in str(first.error)
        assert [next(outcomes), next(outcomes)] == [Done(long), Done(short)]
        assert not runs.lives(killed[0])
        first, second = next(outcomes), next(outcomes)
        assert isinstance(first.error, DataError)
        assert "nowhere does not exist" in str(first.error)
        assert isinstance(second.error, RunError)
        assert first.last
        assert second.last
        [worker] = runs.until(workers)
    assert not runs.lives(worker)


def test_workers_take_accelerators_in_turn():
    executor = Processes(3, devices=("0", "GPU-5"))
    seen = [executor.environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert seen == ["0", "GPU-5", "0"]
    assert "CUDA_VISIBLE_DEVICES" not in Processes(3).environment(0)


class Slow(Job):
    """Holds its folder until it is stopped."""

    def perform(self, report, memory):
        while True:
            report(Progress("slow"))


def test_two_attempts_at_a_job_are_never_made_at_the_same_time(tmp_path, monkeypatch, request):
    """The second waits for the first, which a driver that was killed may have left behind."""
    monkeypatch.setattr(base, "SAVING", 0.1)
    slow = Slow(name="slow", folder=tmp_path, device="cpu", threads=1)
    first = runs.PROCESSES.Process(target=base.do, args=(slow, print, {}))
    first.start()
    request.addfinalizer(first.kill)
    runs.until((tmp_path / base.LOCK).exists)
    [outcome] = Inline(Retries(attempts=1)).run([slow], watch=nothing)
    assert "another process is still at slow" in str(outcome.error)
    quick = slow.model_copy(update={"name": "quick"})
    monkeypatch.setattr(Slow, "perform", lambda *_: None)
    assert [*Inline().run([quick], watch=nothing)] == [Done(quick)]
    first.kill()
    first.join()
    assert [*Inline().run([slow], watch=nothing)] == [Done(slow)]
