"""Reports: statistics, JSON and the table."""

import json
import math

import pytest
import torch

from d3data.evaluation.baselines import Photographs, RowData
from d3data.evaluation.protocols import named
from d3data.evaluation.record import Point, Trial
from d3data.evaluation.report import Report
from d3data.evaluation.rows import Row


def trial(seed, accuracy):
    return Trial(
        seed=seed,
        learning_rate=0.03,
        accuracy=accuracy,
        per_class=(accuracy, None),
        confusion=((8, 2), (0, 0)),
        loss=0.1,
        steps=600,
        images=76_800,
        flops=10**12,
        memory=None,
        seconds=1.5,
        curve=(Point(step=600, seconds=1.4, loss=0.1, accuracy=accuracy),),
    )


def row(name, *accuracies, values=1280):
    data = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    each = 2 if name == "random" else None
    return Row.of(
        name,
        [trial(seed, accuracy) for seed, accuracy in enumerate(accuracies)],
        network="convnet-w32",
        labels="hard",
        of=RowData(data, each, values, values and 4 * values),
    )


@pytest.fixture
def report():
    return Report(
        data="three-digits 1.0.0",
        content_sha256="0" * 64,
        task="digits",
        fingerprint="1" * 64,
        split="test",
        tests=359,
        classes=("0", "1"),
        protocol=named("quick"),
        rows=(row("distilled", 0.8, 0.9), row("random", 0.5, 0.7)),
        device="cpu",
        threads=1,
        versions={"torch": "2"},
        date="2026-01-01",
    )


def test_mean_and_standard_deviation_over_networks():
    made = row("x", 0.5, 0.6, 0.9)
    assert made.mean == pytest.approx(2 / 3)
    deviations = [(a - 2 / 3) ** 2 for a in (0.5, 0.6, 0.9)]
    assert made.std == pytest.approx(math.sqrt(sum(deviations) / 2))
    assert made.seconds == 4.5


def test_one_network_has_no_deviation():
    assert row("x", 0.5).std is None
    assert row("x", 0.5).cells()[6] == "50.0"


def test_json_holds_all_of_it(report):
    text = report.model_dump_json()
    assert Report.parse(json.loads(text), where="report.json") == report
    assert json.loads(text)["rows"][1]["trials"][0]["seed"] == 0


def test_the_table(report):
    assert report.table().splitlines() == [
        "three-digits 1.0.0 on digits: 359 test images, protocol quick v1, "
        "2 networks for each row, guessing reaches 50.0 %",
        "trained on  network      labels  images/class  values  bytes   accuracy %  all seconds",
        "distilled   convnet-w32  hard               -   1,280  5,120   85.0 ± 7.1            3",
        "random      convnet-w32  hard               2   1,280  5,120  60.0 ± 14.1            3",
    ]


def test_seconds_on_real_are_those_until_it_is_as_good(report):
    def curve(*accuracies):
        return tuple(
            Point(step=n, seconds=float(n), loss=0.1, accuracy=accuracy)
            for n, accuracy in enumerate(accuracies, 1)
        )

    def of(name, network, *accuracies):
        trials = (trial(0, 0.5).model_copy(update={"curve": curve(*accuracies)}),)
        return row(name, 0.5).model_copy(update={"network": network, "trials": trials})

    own, other = of("distilled", "mlp", 0.2, 0.5), of("distilled", "vit", 0.2, 0.5)
    real = of("real", "mlp", 0.4, 0.5, 0.6), of("real", "vit", 0.1, 0.2, 0.5)
    found = report.model_copy(update={"rows": (own, other, *real)})
    assert [found.seconds_on_real(one) for one in (own, other)] == [2.0, 3.0]
    assert found.cost(own)[-1] == "2.0"


def test_what_is_not_known_is_a_dash(report):
    unknown = trial(0, 0.5).model_copy(update={"flops": None})
    one = row("distilled", 0.5).model_copy(update={"trials": (unknown,)})
    assert report.model_copy(update={"rows": (one,)}).cost(one)[5:8] == ("-", "1.5", "-")


def test_a_set_that_tells_no_values(report):
    line = report.model_copy(update={"rows": (row("distilled", 0.5, values=None),)}).table()
    assert line.splitlines()[-1].split()[2:] == ["hard", "-", "-", "-", "50.0", "2"]
