"""The steps that `benchmarks/gpu.py` takes on an accelerator, small, on the pretended one."""

import importlib
import json
from pathlib import Path

import pytest
import test_card
from pretended import GPU, card

import tiny_runs as runs

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
QUICK = ("environment", "launches")


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return importlib.import_module("gpu")


@pytest.fixture
def steps(gpu):
    return [*gpu.STEPS] if runs.soaking() else QUICK


def test_every_step_shows_what_it_must(gpu, steps, tmp_path):
    from gpu_steps.bench import Bench, PretendedCard

    with card() as found:
        bench = Bench(GPU, PretendedCard(found), tmp_path, real=False)
        page = gpu.page(bench, gpu.measure(bench, steps))
    assert page["ok"], [step for step in page["steps"] if not step["ok"]]
    assert [step["step"] for step in page["steps"]] == [*steps]
    assert json.loads(json.dumps(page, default=str))["hardware"] == "pretended"


def test_a_step_that_raises_has_failed_and_the_others_go_on(gpu, monkeypatch, tmp_path):
    from gpu_steps.bench import Bench, Check

    def broken(bench):
        yield Check("one", "", 1, True)
        raise RuntimeError("it broke")

    def missed(bench):
        yield Check("two", "1", 2, False)

    monkeypatch.setattr(gpu, "STEPS", {"broken": broken, "missed": missed})
    bench = Bench(GPU, None, tmp_path, real=False)
    page = gpu.page(bench, gpu.measure(bench, ["broken", "missed"]))
    assert [step["ok"] for step in page["steps"]] == [False, False]
    assert "it broke" in page["steps"][0]["error"]
    assert not page["ok"]


def test_budgets_are_those_of_the_tests(gpu):
    from gpu_steps import costs

    same = {name: test_card.LAUNCHES[name] for name in ("dm", "mmd", "mtt")}
    assert same.items() <= costs.LAUNCHES.items()
    assert costs.WAITS == test_card.WAITS
