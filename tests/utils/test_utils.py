"""Random numbers, files that are replaced whole, devices, the training loop."""

import contextlib
import ctypes
import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

from d3data import errors
from d3data.nets import training
from d3data.utils import atomic, device, lock, rng
from d3data.utils.device import as_device, normal


def test_errors_have_one_root():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if kind.__module__ == "d3data.errors"]
    assert all(issubclass(kind, errors.D3DataError) for kind in ours)
    assert [kind.__name__ for kind in ours if kind.__name__ not in errors.__doc__] == []


def test_a_key_decides_the_numbers():
    assert rng.derive(0, "a", 1) == rng.derive(0, "a", 1)
    keys = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2), (0, "a", "1"), (0, "a1"), (0,)]
    assert len({rng.derive(seed, *key) for seed, *key in keys}) == len(keys)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 16), (0, 4)])
def test_normal_values_are_those_of_randn(shape):
    one, other = (torch.Generator().manual_seed(5) for _ in range(2))
    drawn = normal(shape, torch.device("cpu"), one)
    assert torch.equal(drawn, torch.randn(shape, generator=other))
    assert torch.equal(one.get_state(), other.get_state())


def test_seeding_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    with rng.seeded(3, "network"):
        one = torch.rand(4)
    assert torch.equal(before, torch.get_rng_state())
    with rng.seeded(3, "network"):
        assert torch.equal(one, torch.rand(4))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a" / "file"
    atomic.write_bytes(path, b"old")
    with contextlib.suppress(KeyboardInterrupt), atomic.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    atomic.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_freeing_space_is_advised_where_there_is_none(number, tmp_path):
    with pytest.raises(errors.RunError) as told, atomic.replacing(tmp_path / "file"):
        raise OSError(number, os.strerror(number))
    assert ("free some space" in str(told.value)) == (number != errno.EROFS)
    assert "choose another folder" in str(told.value)


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    atomic.write_bytes(path, b"old")
    code = f"""
        import os, signal, pathlib
        from d3data.utils import atomic
        with atomic.replacing(pathlib.Path({str(path)!r})) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)])
    assert run.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_loss_that_is_not_finite_stops_training():
    weight = torch.nn.Parameter(torch.ones(()))
    losses = (weight * value for value in (1.0, float("nan")))
    with pytest.raises(errors.TrainingError, match="nan at step 1 of 2: lower the learning"):
        training.descend(losses, [torch.optim.SGD([weight], lr=0.1)], steps=2)


def test_a_schedule_is_a_function_of_the_step_alone():
    def trained(start, weight):
        optimizer = torch.optim.SGD([weight], lr=0.5)
        losses = (weight * 1.0 for _ in range(start, 6))
        factor = lambda step: training.cosine(step, 6)  # noqa: E731
        stream = training.scheduled(losses, optimizer, factor, start=start)
        stop = 6 if start else 3
        training.descend(stream, [optimizer], start=start, steps=stop)
        return weight

    weight = torch.nn.Parameter(torch.ones(()))
    halves = trained(3, trained(0, weight))
    expected = 1 - 0.5 * sum(training.cosine(step, 6) for step in range(6))
    assert halves.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cpu:7"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(errors.DeviceError, match=name):
        as_device(name)


FAULTS = """
    import resource, sys
    from d3data.utils.process import keep_freed_memory

    if sys.argv[1:]:
        keep_freed_memory()
    import numpy

    def faults():
        for _ in range(20):
            numpy.ones(1 << 23)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    print(-faults() + faults())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="glibc has mallopt")
def test_freed_memory_is_used_again_without_asking_the_system():
    def faults(*arguments):
        command = [sys.executable, "-c", textwrap.dedent(FAULTS), *arguments]
        return int(subprocess.run(command, check=True, capture_output=True).stdout)

    assert 10 * faults("keep") < faults()


@pytest.mark.parametrize(
    ("said", "count"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 8), ("", 8)]
)
def test_cores_are_those_of_a_container(tmp_path, monkeypatch, said, count):
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(device, "CPU_SHARE", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert device.cores() == count


@pytest.mark.parametrize("place", ["cpu", "cpu:0", torch.device("cpu", 0)])
def test_a_cpu_has_one_name(place):
    assert device.find_resources(str(place), None).device == "cpu"
    assert device.find_resources(str(place), None, inline=True).device == "cpu"


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "lockf", refuse)
    held = lock.hold_range(tmp_path / ".jobs", "it", patience=0.0)
    with pytest.raises(errors.RunError, match="mounted with locks"), held:
        pass
