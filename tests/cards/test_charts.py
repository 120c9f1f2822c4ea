"""Places of marks: inside, in order, in proportion, and told apart."""

import itertools

import pytest

from d3data.evaluation.pages import charts
from showing import report


@pytest.mark.parametrize("shares", [[1.0], [0.6, 0.3, 0.1], [0.1] * 10])
def test_a_bar_is_whole_and_in_proportion(shares):
    pieces = charts.bar(shares)
    assert [piece.width for piece in pieces] == [pytest.approx(1000 * share) for share in shares]
    for one, other in itertools.pairwise(pieces):
        assert other.x == pytest.approx(one.x + one.width)
    assert pieces[-1].x + pieces[-1].width == pytest.approx(1000)


ROWS = [
    [("distilled", None, 2000, 9000, (0.9, 0.92)), ("random", 2, 1920, 1920, (0.7, 0.74))],
    [("distilled", None, 10, 1, (0.0,))],
    [("distilled", None, 10, 10**9, (1.0, 1.0))],
    [("distilled", None, 10, 1000, (0.5,)), *((f"b{n}", 1, 9, 1000, (0.5,)) for n in range(6))],
    [("distilled", None, 10, 12_671, (0.99,)), ("all " * 50, 5000, 9, 42_000_000, (0.1, 0.99))],
]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("width", "height"), [(680, 300), (335, 280)])
def test_a_plot_keeps_everything_inside_and_apart(toys, rows, width, height):
    found = charts.plot(report(toys, rows).rows, width=width, height=height)
    left, right = charts.LEFT, width - charts.RIGHT
    top, bottom = charts.TOP, height - charts.BOTTOM
    assert [x for x, _ in found.across] == sorted({x for x, _ in found.across})
    assert found.across[0][0] == left
    assert found.across[-1][0] == pytest.approx(right)
    assert 3 <= len(found.up) <= 7
    assert found.up[0][0] == pytest.approx(bottom)
    assert found.up[-1][0] == pytest.approx(top)
    for mark in found.marks:
        assert left <= mark.x <= right
        assert top - 1e-6 <= mark.high <= mark.y <= mark.low <= bottom + 1e-6
        end = mark.label_x + len(mark.label) * charts.LETTER * (
            1 if mark.anchor == "start" else -1
        )
        assert 0 <= end <= width
    heights = sorted(mark.label_y for mark in found.marks)
    assert all(b - a >= charts.LINE - 1e-6 for a, b in itertools.pairwise(heights))
    assert sum(mark.filled for mark in found.marks) == 1


def test_ten_times_the_bytes_is_one_step(toys):
    rows = [("distilled", None, 1, size, (0.5,)) for size in (1000, 10_000, 100_000)]
    marks = charts.plot(report(toys, rows).rows, width=680, height=300).marks
    one, two, three = sorted(mark.x for mark in marks)
    assert two - one == pytest.approx(three - two, abs=0.02)
    assert one < two


def test_rows_that_say_no_bytes_are_left_out(toys):
    rows = report(toys, [("distilled", None, None, None, (0.5,))]).rows
    assert charts.plot(rows, width=680, height=300) is None


@pytest.mark.parametrize("values", [[3.0], [0.4, 2.0], [7.0, 15.0, 150.0], [600.0], [0.0]])
def test_a_linear_axis_begins_at_nought_and_has_few_even_ticks(values):
    ticks = charts._even(max(values))
    assert ticks[0] == 0
    assert max(values) <= ticks[-1] <= max(2.01 * max(values), 0.02)
    assert 2 <= len(ticks) <= 6
    assert {round(b - a, 9) for a, b in itertools.pairwise(ticks)} == {round(ticks[1], 9)}


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([2560, 82_880], [2000, 5000, 10_000, 20_000, 50_000, 100_000]),
        ([1, 9 * 10**8], [10**n for n in range(10)]),
        ([1000], [500, 1000, 2000]),
        ([1], [1, 2]),
    ],
)
def test_a_logarithmic_axis_ends_at_the_next_ticks(values, ticks):
    assert charts._decades(values) == ticks


@pytest.mark.parametrize("logarithmic", [True, False])
@pytest.mark.parametrize(("width", "height"), [(680, 300), (335, 280)])
def test_curves_go_through_their_marks_and_the_first_lies_on_top(width, height, logarithmic):
    axis = charts.Axis("steps", str, logarithmic)
    own = charts.Series("own", ((100, 50, 5), (200, 90, 2)), 0, ours=True)
    other = charts.Series("other", ((150, 40, 0), (1000, 99, 9)), 1)
    found = charts.draw([own, other], axis, width=width, height=height)
    for curve, marks in zip(found.curves, (found.marks[:2], found.marks[2:]), strict=True):
        assert curve.points == tuple((mark.x, mark.y) for mark in marks)
    assert [curve.filled for curve in found.curves] == [False, True]
    assert [curve.dash for curve in found.curves] == [other.dash, own.dash]
    for mark in found.marks:
        assert charts.LEFT <= mark.x <= width - charts.RIGHT
        assert charts.TOP - 1e-6 <= mark.high <= mark.y <= mark.low <= height - charts.BOTTOM
    labels = [x for x, label in found.across if label]
    assert all(b - a >= charts.TICK for a, b in itertools.pairwise(labels))


def test_every_shape_is_another_and_stays_near_its_place():
    paths = {shape.path for shape in charts.SHAPES}
    assert len(paths) == len(charts.SHAPES)
    assert len({*charts.DASHES}) == len(charts.DASHES)
    for shape in charts.SHAPES:
        assert all(max(map(abs, corner)) <= 8 for line in shape.outlines for corner in line)
