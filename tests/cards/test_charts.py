"""Charts: everything inside, ticks with room, series told apart, and no trace in matplotlib."""

import itertools

import matplotlib
import numpy as np
import pytest

from d3data.evaluation.pages import charts, figures
from d3data.evaluation.pages.chart_data import ChartData
from d3data.evaluation.pages.charts import Axis, Chart, Series
from showing import report

SIZES = [(680, 300), (335, 280)]


@pytest.mark.parametrize("shares", [[1.0], [0.6, 0.3, 0.1], [0.1] * 10])
def test_a_bar_is_whole_and_in_proportion(shares):
    pieces = charts.stacked_bar(shares)
    assert [length for _, length, _ in pieces] == [pytest.approx(1000 * share) for share in shares]
    ends = [start + length for start, length, _ in pieces]
    assert [start for start, *_ in pieces] == pytest.approx([0, *ends[:-1]])
    assert ends[-1] == pytest.approx(1000)


POINTS = [
    [(9000, 91.0, 1.0), (1920, 72.0, 3.0)],
    [(1, 0.0, 0.0)],
    [(10**9, 100.0, 0.0)],
    [(12_671, 99.0, 2.0), (42_000_000, 55.0, 50.0)],
    [(100, 50.0, 5.0), (1e9, 99.0, 9.0)],
    [(7, 50.0, 0.1), (7.5, 50.1, 0.0)],
]


def drawn(points, size, *, logarithmic):
    """The plot of one series for each point, and its ticks: places in pixels and labels."""
    series = [Series(f"s{n}", (point,), n, n == 0) for n, point in enumerate(points)]
    plot = Chart("name", "Title", series, Axis("x", "{:,g} b".format, logarithmic)).plot(*size)
    figures.figure_of(plot).draw_without_rendering()
    pairs = zip(plot.get_xticks(), plot.xaxis.get_ticklabels(), strict=True)
    inside = [(x, label) for x, label in pairs if plot.get_xlim()[0] <= x <= plot.get_xlim()[1]]
    return plot, [label.get_window_extent() for _, label in inside]


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_plot_keeps_everything_inside_and_its_labels_apart(points, size, logarithmic):
    plot, labels = drawn(points, size, logarithmic=logarithmic)
    (left, right), (low, high) = plot.get_xlim(), plot.get_ylim()
    assert low >= 0
    assert high <= 100
    for x, y, spread in points:
        assert left <= x <= right
        assert low <= max(0, y - spread) <= min(100, y + spread) <= high
    assert logarithmic or left == 0
    assert 4 <= len(plot.get_yticks()) <= 8
    assert len(labels) >= 2
    assert all(one.x1 < other.x0 for one, other in itertools.pairwise(labels))
    assert labels[-1].x1 <= figures.figure_of(plot).bbox.x1 + 12


def test_ten_times_the_bytes_is_one_step():
    plot, _ = drawn([(10**n, 50.0, 0.0) for n in (3, 4, 5)], SIZES[0], logarithmic=True)
    places = plot.transData.transform([(10**n, 50.0) for n in (3, 4, 5)])[:, 0]
    assert places[2] - places[1] == pytest.approx(places[1] - places[0])


def test_the_first_series_lies_on_top_and_lines_go_through_their_points():
    own = Series("own", ((100, 50, 5), (200, 90, 2)), 0, ours=True)
    other = Series("other", ((150, 40, 0), (1000, 99, 9)), 1)
    plot = Chart("name", "Title", [own, other], Axis("x", str)).plot(*SIZES[0])
    first, second = plot.get_lines()
    assert first.get_zorder() > second.get_zorder()
    assert np.array_equal(first.get_xydata(), [(100, 50), (200, 90)])
    assert first.get_color() == figures.OWN


def test_series_differ_without_color():
    looks = [(charts.MARKERS[n % 12], charts.DASHES[n % 7]) for n in range(84)]
    assert len(set(looks)) == 84


def test_rows_that_state_no_bytes_are_left_out(toys):
    rows = [("distilled", None, None, None, (0.5,))]
    assert "accuracy-bytes" not in ChartData([report(toys, rows)]).charts
    first = ChartData([report(toys)]).charts["accuracy-bytes"].series[0]
    assert first.key == "this set, 91.0 %"


def test_names_are_shown_as_text_and_nothing_of_matplotlib_is_changed():
    before = dict(matplotlib.rcParams)
    names = ["_$x$ <b>\u202e\x00\n", "猫 é", ' style="fill: red" #1e1e1e', "a" * 99]
    series = [Series(name, ((1, 2, 3),), n) for n, name in enumerate(names)]
    chart = Chart("name", 'T " <i>', series, Axis("$x$", str))
    wide, narrow = chart.svgs
    assert "_$x$ &lt;b&gt;\ufffd\ufffd\ufffd, 2.0 %</text>" in wide
    assert "猫 é" in narrow
    assert ' style="fill: red" #1e1e1e' in wide
    assert f"{'a' * 35}…" in wide
    assert 'aria-label="T &quot; &lt;i&gt;: ' in wide
    for part in ("<b>", "<i>", "<style", "<metadata", "url(", "2026"):
        assert part not in wide
    assert chart.svgs == [wide, narrow]
    assert chart.png("$x$\u202e") == chart.png("$x$\u202e")
    assert dict(matplotlib.rcParams) == before


def test_the_users_own_style_changes_nothing():
    chart = Chart("name", "Title", [Series("one", ((1, 2, 3),))], Axis("x", str))
    usual = chart.svgs
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.usetex": True}):
        assert chart.svgs == usual
