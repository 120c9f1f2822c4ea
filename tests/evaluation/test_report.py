"""Reports: statistics, JSON and the tables."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

import reports
from d3data.evaluation.baselines import Photographs, RowData
from d3data.evaluation.record import Point, Row, is_unbalanced
from d3data.evaluation.report import Report, measured
from reports import row


def test_mean_and_standard_deviation_over_networks():
    made = row("x", 0.5, 0.6, 0.9)
    assert made.mean == pytest.approx(2 / 3)
    deviations = [(a - 2 / 3) ** 2 for a in (0.5, 0.6, 0.9)]
    assert made.std == pytest.approx(math.sqrt(sum(deviations) / 2))
    assert made.seconds == 4.5
    assert row("x", 0.5).std is None
    assert row("x", 0.5).cells()["accuracy %"] == "50.0"


def test_json_holds_all_of_it_and_the_table():
    rows = row("distilled", 0.8, 0.9), row("random", 0.5, 0.7)
    known = reports.report("three-digits 1.0.0", *rows, tests=359)
    text = known.model_dump_json()
    assert Report.parse(json.loads(text), where="report.json") == known
    assert json.loads(text)["rows"][1]["trials"][0]["seed"] == 0
    assert known.table().splitlines() == [
        "three-digits 1.0.0 on digits: 359 test images, protocol quick v1, "
        "2 networks for each row, guessing reaches 100.0 %",
        "trained on  network      labels  images/class  values  bytes   accuracy %  all seconds",
        "distilled   convnet-w32  hard               -   1,280  5,120   85.0 ± 7.1            3",
        "random      convnet-w32  hard               2   1,280  5,120  60.0 ± 14.1            3",
    ]


def test_seconds_on_real_are_those_until_it_is_as_good():
    def of(name, network, *accuracies):
        curve = [
            Point(step=n, seconds=float(n), loss=0.1, accuracy=accuracy)
            for n, accuracy in enumerate(accuracies, 1)
        ]
        return row(name, 0.5, network=network, curve=tuple(curve))

    own, other = of("distilled", "mlp", 0.2, 0.5), of("distilled", "vit", 0.2, 0.5)
    real = of("real", "mlp", 0.4, 0.5, 0.6), of("real", "vit", 0.1, 0.2, 0.5)
    report = reports.report("a", own, other, *real)
    assert [report.seconds_on_real(one) for one in (own, other)] == [2.0, 3.0]
    assert report.cost(own)["seconds on real"] == "2.0"


def test_what_is_not_known_is_a_dash():
    unknown = row("distilled", 0.5, values=None, flops=None)
    report = reports.report("a", unknown)
    cost = report.cost(unknown)
    assert [cost[name] for name in ("TFLOP", "seconds", "peak MB")] == ["-", "1.5", "-"]
    assert report.table().splitlines()[-1].split()[2:] == ["hard", "-", "-", "-", "50.0", "2"]


def test_a_report_says_whose_statistics_were_estimated_again():
    slow, fast = row("distilled", 0.5, network="slow", reestimated=2048), row("distilled", 0.5)
    note = "training was too short for them: slow (2,048 draws)."
    known = reports.report("a", slow, fast)
    assert known.table().splitlines()[-1].endswith(note)
    assert measured(known).endswith(note)
    assert reports.report("a", fast).reestimated == ""


def test_balanced_accuracy_is_that_of_classes_where_their_sizes_differ():
    trials = [
        reports.trial(0.9, per_class=(1.0, 0.2, None)),
        reports.trial(0.8, per_class=(0.9, 0.1, None)),
    ]
    of = RowData(Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2)), None, 1, 4)
    common = {"network": "mlp", "labels": "hard", "of": of}
    made = Row.of("distilled", trials, **common, unbalanced=True)
    assert made.balanced == pytest.approx((0.6 + 0.5) / 2)
    assert made.cells()["balanced %"] == "55.0"
    known = reports.report("a", made)
    assert Report.parse(known.dump(), where="a page") == known
    none = Row.of("x", [reports.trial(0.0, per_class=(0.0, 0.0))], **common, unbalanced=True)
    assert Row.parse(none.dump(), where="a row").balanced == 0
    even = Row.of("distilled", trials, **common)
    assert "balanced" not in even.dump()
    assert "balanced %" not in even.cells()
    assert [is_unbalanced(SimpleNamespace(counts=lambda c=c: c)) for c in ([3, 2, 0], [4, 2])] == [
        False,
        True,
    ]
