"""What is said of a set's worth, and evaluations that fit into minutes."""

import math

import pytest

import reports
from d3data.errors import TrainingError
from d3data.evaluation import evaluate, plan
from d3data.evaluation.estimate import Speed
from d3data.evaluation.evaluation_plan import LEAST_STEPS, EvaluationPlan
from d3data.evaluation.verdict import Measured, verdict


def said(own: float, rival: float, tests: int) -> str:
    rows = balanced(reports.row("distilled", own), reports.row("compressed", rival))
    return verdict(reports.report("a", *rows).model_copy(update={"tests": tests}))


def balanced(*rows):
    """The rows as if two classes had as many test images each."""
    changed = {"confusion": ((5, 0), (0, 5))}
    return [
        row.model_copy(update={"trials": tuple(t.model_copy(update=changed) for t in row.trials)})
        for row in rows
    ]


def test_the_error_is_that_of_test_images_and_of_networks():
    many = Measured.of(reports.row("distilled", 0.5, 0.6), 400)
    assert many.error == pytest.approx(100 * math.sqrt(0.55 * 0.45 / 400 + 0.005 / 2))
    one = Measured.of(reports.row("distilled", 0.5), 100)
    assert one.error == pytest.approx(5)
    assert Measured.of(reports.row("distilled", 1.0), 100).error > 0


@pytest.mark.parametrize(
    ("own", "rival", "tests", "sentence"),
    [
        (0.9, 0.8, 1000, "It is worth its bytes"),
        (0.8, 0.9, 1000, "It is not worth its bytes"),
        (0.9, 0.8, 24, "cannot be told"),
        (0.8, 0.9, 24, "cannot be told"),
        (0.5, 0.9, 10, "no better than guessing"),
    ],
)
def test_a_difference_is_told_where_it_is_twice_its_error(own, rival, tests, sentence):
    text = said(own, rival, tests)
    assert sentence in text
    assert "guessing reaches 50.0 %" in text


def test_all_real_images_are_no_rival_of_as_many_bytes():
    sizes = (("distilled", 0.92, 30_000), ("compressed", 0.8, 29_000), ("real", 0.95, 10**8))
    rows = [reports.row(n, mean).model_copy(update={"bytes": size}) for n, mean, size in sizes]
    text = verdict(reports.report("a", *balanced(*rows)).model_copy(update={"tests": 10_000}))
    assert "It is worth its bytes: 12.0 " in text


@pytest.mark.parametrize(
    ("rival", "size", "worth"),
    [
        (0.9, 14_000, "is not worth"),
        (0.9, 16_000, "cannot be told"),
        (0.88, 14_000, "cannot be told"),
    ],
)
def test_as_much_in_less_than_half_of_the_bytes_is_worth_more(rival, size, worth):
    sizes = (("distilled", 0.9, 30_000), ("compressed", rival, size))
    rows = [reports.row(n, mean).model_copy(update={"bytes": size}) for n, mean, size in sizes]
    text = verdict(reports.report("a", *balanced(*rows)).model_copy(update={"tests": 100}))
    assert worth in text
    assert f"differs by {90 - 100 * rival:+.1f} ± 4." in text


def test_guessing_is_the_commonest_class():
    found = reports.row("distilled", 0.9)
    confusion = ((90, 0), (10, 0))
    trials = tuple(t.model_copy(update={"confusion": confusion}) for t in found.trials)
    row = found.model_copy(update={"trials": trials})
    text = verdict(reports.report("a", row).model_copy(update={"tests": 100}))
    assert "guessing reaches 90.0 %" in text
    assert "no better than guessing" in text
    assert "guessing reaches 90.0 %" in reports.report("a", row).table()


SPEED = Speed(own=1.0, real=2.0, image=0.0)


@pytest.fixture
def timed(monkeypatch):
    """Steps take one second on the set and two on real images."""
    monkeypatch.setattr(EvaluationPlan, "_speeds", lambda self: [SPEED] * len(self.builds))


def long(tiny):
    return tiny.model_copy(update={"steps": 300, "networks": 3})


@pytest.mark.parametrize(
    ("minutes", "networks", "steps"),
    [(100.0, 3, 300), (30.1, 2, 300), (15.0, 1, 300), (10.0, 1, 192), (0.1, 1, LEAST_STEPS)],
)
def test_networks_are_cut_before_steps(pixels, tiny, timed, minutes, networks, steps):
    fitted = plan(pixels, protocol=long(tiny), baselines="random", minutes=minutes)
    assert len(fitted.seeds) == len(fitted.baseline_seeds) == networks
    assert fitted.setup.protocol.steps == steps
    assert fitted.setup.protocol.name == ("tiny" if steps == 300 else f"tiny-{steps}")
    if minutes > 1:
        assert fitted.estimate().seconds <= 60 * minutes


def slow(monkeypatch, times):
    """From now on steps take so many times as long."""
    speed = Speed(*(times * seconds for seconds in SPEED))
    monkeypatch.setattr(EvaluationPlan, "_speeds", lambda self: [speed] * len(self.builds))


def test_what_fits_is_chosen_once_until_the_report_is_written(pixels, tiny, timed, monkeypatch):
    options = {"protocol": long(tiny), "baselines": "random", "minutes": 15.0}
    first = plan(pixels, **options)
    slow(monkeypatch, 10)
    again = plan(pixels, **options)
    assert again.setup.protocol == first.setup.protocol
    assert again.cache == first.cache
    first.clear()
    assert plan(pixels, **options).setup.protocol.steps == LEAST_STEPS


def test_what_fits_whole_goes_on_so_when_the_machine_is_busier(pixels, tiny, timed, monkeypatch):
    options = {"protocol": long(tiny), "baselines": "random", "minutes": 1e6}
    whole = plan(pixels, **options)
    slow(monkeypatch, 1e9)
    again = plan(pixels, **options)
    assert (again.setup.protocol, again.seeds) == (whole.setup.protocol, whole.seeds)
    whole.clear()


@pytest.mark.parametrize("minutes", [0, -1, math.nan, math.inf])
def test_minutes_are_positive_and_finite(pixels, tiny, minutes):
    with pytest.raises(TrainingError, match="minutes"):
        plan(pixels, protocol=tiny, minutes=minutes)


def test_fair_baselines_have_as_many_bytes(pixels, tiny):
    report = evaluate(pixels, protocol=tiny, baselines="fair", seeds=[0])
    own, random, compressed = report.rows
    assert (random.name, compressed.name) == ("random-bytes", "compressed")
    assert compressed.bytes <= own.bytes
    image = random.bytes / random.images_per_class
    assert abs(random.bytes - own.bytes) <= image
