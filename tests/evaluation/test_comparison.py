"""Comparisons: pairs over seeds, and what is within noise."""

import json
import math

import pytest
from scipy.stats import t, ttest_rel
from typer.testing import CliRunner

import reports
from d3data.cli.commands import app
from d3data.errors import DataError
from d3data.evaluation import EvaluationPlan, compare
from d3data.evaluation.protocols import get_protocol
from d3data.evaluation.report import Report


def report(name, *accuracies, network="mlp", steps=1, labels="hard", **changes):
    own = reports.row("distilled", *accuracies, network=network, labels=labels, steps=steps)
    return reports.report(name, own, **changes)


A, B = (0.80, 0.82, 0.84, 0.86), (0.70, 0.73, 0.73, 0.76)


def test_a_difference_is_students_whoever_is_first():
    (found,) = compare([report("a", *A), report("b", *B)]).differences
    expected = ttest_rel(A, B)
    interval = expected.confidence_interval(0.95)
    assert (found.mean, found.p) == (pytest.approx(0.1), pytest.approx(expected.pvalue))
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert not found.noise
    assert found.line().startswith("a is better than b by 10.0 points")
    (other,) = compare([report("b", *B), report("a", *A)]).differences
    assert (other.mean, other.low, other.p) == pytest.approx((-found.mean, -found.high, found.p))
    assert other.line().startswith("a is better than b")


def test_noise_is_called_noise_and_pairs_see_what_means_alone_do_not():
    """Seeds that are hard for both leave a small, certain difference."""
    (found,) = compare([report("a", 0.8, 0.7), report("b", 0.7, 0.75)]).differences
    assert found.noise
    assert "within noise" in found.line()
    base = (0.5, 0.6, 0.7, 0.8)
    better = tuple(a + 0.01 + 0.001 * n for n, a in enumerate(base))
    (found,) = compare([report("a", *better), report("b", *base)]).differences
    assert not found.noise


def test_reports_of_an_old_protocol_are_read_and_compared():
    pages = [
        report(*of, protocol=reports.FIELD_1).model_dump_json() for of in (("a", *A), ("b", *B))
    ]
    read = [Report.model_validate_json(page) for page in pages]
    assert read[0].protocol == reports.FIELD_1 != get_protocol("field")
    assert compare(read).differences[0].mean == pytest.approx(0.1)


@pytest.mark.parametrize(("shift", "noise"), [(0.0, True), (1 / 10_000, True), (0.25, False)])
def test_differences_without_spread(shift, noise):
    """All networks agree: the error is that of the images, of which a share must differ."""
    (found,) = compare(
        [report("a", *(x + shift for x in (0.25, 0.5))), report("b", 0.25, 0.5)]
    ).differences
    error = math.sqrt(shift * (1 - shift) / 10_000)
    reach = error * t.ppf(0.975, 1)
    expected = 2 * t.sf(shift / error, 1) if shift else 1
    assert (found.low, found.high) == pytest.approx((shift - reach, shift + reach))
    assert found.p == pytest.approx(expected)
    assert found.noise == noise


def test_every_pair_once_and_twins_are_numbered():
    found = compare([report("a", *A), report("a", *B), report("b", *B)])
    assert [name for name, _ in found.rows] == ["a (1)", "a (2)", "b"]
    pairs = [(one.first, one.second) for one in found.differences]
    assert pairs == [("a (1)", "a (2)"), ("a (1)", "b"), ("a (2)", "b")]
    json.dumps(found.dump())


@pytest.mark.parametrize(
    ("reports", "message"),
    [
        ([report("a", *A)], "at least two"),
        ([report("a", *A), report("b", *B, fingerprint="2" * 64)], "same real images"),
        ([report("a", *A), report("b", *B, split="validation")], "same split"),
        ([report("a", *A), report("b", *B, protocol=get_protocol("field"))], "same protocol"),
        (
            [
                report("a", *A, protocol=get_protocol("field")),
                report("b", *B, protocol=reports.FIELD_1),
            ],
            r"same protocol \(field v1 and field v2\)",
        ),
        ([report("a", *A), report("b", *B, network="lenet")], "same network"),
        ([report("a", *A), report("b", *B[:3])], "same seeds"),
        ([report("a", *A), report("b", *B, steps=2)], "same number of steps"),
        ([report("a", *A), report("b", *B, labels="soft")], "same kind of labels"),
        ([report("a", 0.5), report("b", 0.6)], "with one network"),
    ],
)
def test_only_what_was_made_alike_is_compared(reports, message):
    with pytest.raises(DataError, match=message):
        compare(reports)


@pytest.mark.parametrize(
    ("seeds", "changes", "message"),
    [
        (4, {"split": "validation"}, "same split"),
        (4, {"protocol": get_protocol("field")}, "same protocol"),
        (4, {"network": "lenet"}, "same network"),
        (4, {"steps": 601}, "same number of steps"),
        (4, {"labels": "soft"}, "same kind of labels"),
        (1, {}, "with one network"),
    ],
)
def test_sets_that_cannot_be_compared_are_not_trained_on(
    pixels, digits, tmp_path, monkeypatch, seeds, changes, message
):
    """A set to evaluate, and the report of another one."""
    monkeypatch.setattr(EvaluationPlan, "run", lambda plan, **how: pytest.fail("it trained"))
    usual = {"network": "convnet-w32", "steps": 600, "fingerprint": digits.fingerprint}
    path = tmp_path / "report.json"
    path.write_text(report("b", *B[:seeds], **usual | changes).model_dump_json())
    command = ["compare", pixels.artifact.folder, path, "--protocol", "quick", "--seeds", seeds]
    refused = CliRunner().invoke(app, [*map(str, command)])
    assert refused.exit_code == 1
    assert message in refused.stderr
