"""The page and the pictures of an evaluation: what they say, and that nothing else runs."""

import functools
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import reports
from d3data.cards import is_page, report_page, report_pictures
from d3data.cli.commands import app
from d3data.data.dataset import DistilledDataset
from d3data.data.gallery import Gallery
from d3data.errors import ArtifactError, DataError
from d3data.evaluation.pages.chart_data import ChartData
from d3data.evaluation.pages.page import distance
from d3data.evaluation.protocols import get_protocol
from d3data.evaluation.record import Point
from d3data.evaluation.report import called, measured
from d3data.evaluation.scores import Scores
from d3data.utils.text import upright
from showing import NAMES, TEXT, Reader

CLASSES = ("ant", "bee", "cat", "dog", "eel")
SCORES = Scores(recovery=0.123, improvement=0.0456, label_robust=0.789, augmentation_robust=0.654)


def trial(seed, accuracy, classes, *, steps=100, curve=True):
    """A trial that takes every eighth image for one of the next class."""
    rates = tuple(accuracy * (0.5 + 0.5 * n / classes) for n in range(classes))
    right = [round(40 * rate) for rate in rates]
    rows = [[0] * classes for _ in right]
    for label, count in enumerate(right):
        rows[label][label] += count
        rows[label][(label + 1) % classes] += 40 - count
    points = [Point(step=steps * n // 4, seconds=0.3 * n, loss=1 / n, accuracy=accuracy * n / 4)
              for n in range(1, 5)]  # fmt: skip
    costs = {"images": 128 * steps, "flops": 3 * 10**11, "memory": 5 * 10**6, "seconds": 1.25}
    confusion = tuple(map(tuple, rows)) if classes <= 100 else None
    results = {"per_class": rates, "confusion": confusion, "curve": tuple(points) if curve else ()}
    return reports.trial(accuracy, seed, steps=steps, **results, **costs)


def row(name, mean, size, *, network="convnet-w32", labels="hard", note="", draws=1280, **how):
    """A row of two networks, a hundredth of accuracy apart."""
    how = {"classes": 5} | how
    trials = [trial(n, mean + shift, **how) for n, shift in enumerate((-0.005, 0.005))]
    sizes = {"values": size and size // 4, "bytes": size}
    sizes |= {"draws": draws, "images_per_class": None if name == "distilled" else 4}
    usual = reports.row(name, 0.5, network=network, labels=labels)
    changes = {"note": note, "mean": mean, "std": 0.00707, "trials": tuple(trials)}
    return usual.model_copy(update=sizes | changes)


ROWS = (
    row("distilled", 0.911, 9000),
    row("random", 0.702, 2560),
    row("compressed", 0.803, 8800, note="webp of 8 px at quality 30"),
    row("random-bytes", 0.854, 9200),
    row("real", 0.985, 80_000),
)
NETWORKS = tuple(
    row(name, mean + lead, 9000, network=network, curve=False)
    for network, mean in (("convnet", 0.6), ("convnet/batch", 0.7), ("vit-tiny", 0.5))
    for name, lead in (("distilled", 0.1), ("random", 0.025))
)


def report(rows=ROWS, **changed):
    """A report of five classes."""
    usual = {"content_sha256": "ab" * 32, "task": "toys", "tests": 200, "classes": CLASSES}
    return reports.report(changed.pop("data", "toys-ipc2 1.2.3"), *rows, **usual | changed)


def many(count):
    """A report of many classes."""
    rows = [row(name, 0.8, 9, classes=count, curve=False) for name in ("distilled", "random")]
    return report(tuple(rows), classes=tuple(f"class {n}" for n in range(count)))


def longer():
    """A report, and two of the same set that was drawn from for less long."""
    found = [report(scores=SCORES)]
    for steps, less in ((10, 0.3), (30, 0.1)):
        sizes = (("distilled", 0.911, 9000), ("random", 0.702, 2560))
        rows = [row(name, mean - less, size, steps=steps) for name, mean, size in sizes]
        protocol = get_protocol("quick").model_copy(update={"steps": steps})
        found.append(report(tuple(rows), protocol=protocol))
    return found


HOSTILE = report(
    (row("distilled", 0.9, 9000, curve=False), row(TEXT, 0.7, 900, note=TEXT, curve=False)),
    data=TEXT,
    task=TEXT,
    classes=NAMES,
    device=TEXT,
    versions={TEXT: TEXT},
)
REPORTS = {
    "usual": report(scores=SCORES),
    "one network": report(
        (ROWS[0].model_copy(update={"std": None, "trials": ROWS[0].trials[:1]}),)
    ),
    "nets": report(NETWORKS),
    "no curves": report(tuple(row(r.name, r.mean, r.bytes, curve=False) for r in ROWS)),
    "no bytes": report(
        (row("distilled", 0.5, None, curve=False),), content_sha256=None, data="Folder"
    ),
    "longer": longer(),
    "30": many(30),
    "1000": many(1000),
    "hostile": HOSTILE,
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of each report, by name."""
    folder = tmp_path_factory.mktemp("pages")
    for name in REPORTS:
        (folder / f"{name}.html").write_text(page_of(name), encoding="utf-8")
    return folder


@pytest.fixture
def visit(chromium, written):
    """Opens a page; it must neither complain nor ask for anything."""
    contexts, faults, asked = [], [], []

    def opened(name, **options):
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.on("pageerror", lambda fault: faults.append(str(fault)))
        tab.on("console", lambda message: faults.append(message.text))
        tab.on("dialog", lambda dialog: faults.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto((written / f"{name}.html").as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert faults == []
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)


@functools.cache
def page_of(name):
    return report_page(REPORTS[name])


def words(name):
    """What a reader sees of a page."""
    return Reader(page_of(name)).words


def dashed(cells):
    """The cells of a row but its name, as the page has them."""
    return ["–" if cell == "-" else cell for cell in [*cells.values()][1:]]


@pytest.mark.parametrize("name", ["usual", "nets", "1000"])
def test_its_tables_are_the_reports(name):
    said, one = words(name), REPORTS[name]
    for mine in one.rows:
        cells = mine.cells()
        first = {name: cells[name] for name in ("trained on", "accuracy %")}
        assert "".join([called(mine), *dashed(first | cells)]) in said
        assert "".join([called(mine), *dashed(one.cost(mine))]).rstrip("–") in said
    assert measured(one) in said
    assert one.data in said


def test_a_column_without_numbers_is_left_out():
    costs = words("no curves").partition("What training one network costs")[2]
    assert "Seconds on real" not in costs
    assert "12,8000.31.25 random" in costs
    assert "Seconds on real" in words("usual")


def test_notes_scores_the_lead_over_equal_bytes_and_all_classes_are_said():
    said = words("usual")
    assert "compressed: webp of 8 px at quality 30" in said
    assert all(score in said for score in ("12.3 points", "4.6 points", "0.789", "0.654"))
    assert "points over compressed real images (8.8 kB)+10.8" in said
    assert "of 200 test images recognized91.1 %" in said
    for n, name in enumerate(CLASSES):
        own, rival = (100 * mean * (0.5 + 0.1 * n) for mean in (0.911, 0.803))
        assert f"{name}{own:.1f}{rival:.1f}" in said


def test_confusions_are_counted_over_all_networks():
    data = ChartData([REPORTS["usual"]])
    counts = np.sum([t.confusion for t in ROWS[0].trials], axis=0)
    shares = counts / counts.sum(1, keepdims=True)
    texts = [[cell.text for cell in cells] for cells in data.confusion.cells]
    assert texts == [[f"{100 * share:.0f}" if share else "" for share in row] for row in shares]
    share, name, other = data.confusions()[0]
    assert (share, name, other) == (pytest.approx(shares[0, 1]), "ant", "bee")
    assert f"{100 * share:.1f} % of “ant” are taken for “bee”" in words("usual")


def test_a_darker_shade_is_a_larger_share():
    cells = [cell for row in ChartData([many(100)]).confusion.cells for cell in row]
    assert {cell.shade for cell in cells if not cell.text} == {0}
    shades = [shade for _, shade in sorted((int(c.text), c.shade) for c in cells if c.text)]
    assert shades == sorted(shades)
    assert shades[0] < shades[-1] <= 10


def test_learning_curves_are_the_mean_of_networks():
    (own, *_) = ChartData([REPORTS["usual"]]).learning("seconds")
    assert own.points == tuple(
        (pytest.approx(0.3 * n), pytest.approx(91.1 * n / 4), 0.0) for n in range(1, 5)
    )
    assert "this set10091.1" in words("usual")


def test_random_images_of_several_sizes_are_one_curve():
    series = {one.name: one for one in ChartData([REPORTS["usual"]]).sizes()}
    assert [*series] == ["this set", "random real images", "compressed real images"]
    points = [(x, round(y, 1)) for x, y, _ in series["random real images"].points]
    assert points == [(2560, 70.2), (9200, 85.4), (80_000, 98.5)]


def test_sets_of_one_protocol_share_a_chart_under_their_names():
    other = report(
        (row("distilled", 0.95, 20_000, curve=False), row("random", 0.8, 5000, curve=False)),
        data="toys-ipc9 1.0.0",
        content_sha256="ef" * 32,
    )
    series = {one.name: one for one in ChartData([REPORTS["no curves"], other]).sizes()}
    assert {"toys-ipc2 1.2.3", "toys-ipc9 1.0.0"} < {*series}
    assert [x for x, *_ in series["random real images"].points] == [2560, 5000, 9200, 80_000]
    assert (
        "toys-ipc9 1.0.095.0 ± 0.7convnet-w32"
        in Reader(report_page([REPORTS["no curves"], other])).words
    )
    twin = other.model_copy(update={"data": "toys-ipc2 1.2.3"})
    names = {one.name for one in ChartData([REPORTS["no curves"], twin]).sizes()}
    assert {"toys-ipc2 1.2.3 (abababab)", "toys-ipc2 1.2.3 (efefefef)"} < names


def test_longer_training_is_shown_where_reports_differ_in_it():
    data = ChartData(longer())
    own, random = data.longer(lambda row: row.trials[0].images)
    assert (own.name, random.name) == ("this set", "random real images")
    assert [(x, round(y, 1)) for x, y, _ in own.points] == [
        (1280, 61.1), (3840, 81.1), (12_800, 91.1)]  # fmt: skip
    assert data.longer(lambda row: row.seconds) == []
    fewer = report((row("distilled", 0.7, 9000, draws=40), ROWS[1]))
    (draws,) = ChartData([report(), fewer]).longer(lambda row: row.draws)
    assert [(x, y) for x, y, *_ in draws.points] == [(40, 70.0), (1280, pytest.approx(91.1))]
    other = get_protocol("quick").model_copy(update={"steps": 5, "learning_rates": (0.5,)})
    with pytest.raises(DataError, match="differs in length alone"):
        ChartData([report(), report((row("distilled", 0.7, 9000, draws=40),), protocol=other)])
    assert "longer-draws" in ChartData([report(), fewer]).charts
    assert {"longer-images", "learning-steps"} < {*data.charts}
    assert "accuracy-bytes" not in ChartData([REPORTS["no bytes"]]).charts
    assert "What longer training gains" in words("longer")
    assert "What longer training gains" not in words("usual")


def test_kinds_of_labels_are_no_longer_training():
    """One report with both has no curve; several have one for each kind."""

    def both(lead, draws):
        soft = row("distilled", 0.7 + lead, 9000, labels="soft", draws=draws + 5)
        return report((soft, row("distilled", 0.6 + lead, 9000, draws=draws), ROWS[1]))

    def curves(*reports):
        return ChartData(reports).longer(lambda row: row.draws)

    assert curves(both(0, 40)) == []
    soft, hard = curves(both(0, 40), both(0.1, 80))
    assert (soft.name, hard.name) == ("this set, soft labels", "this set, hard labels")
    assert [(x, round(y)) for x, y, _ in soft.points] == [(45, 70), (85, 80)]
    assert [(x, round(y)) for x, y, _ in hard.points] == [(40, 60), (80, 70)]
    assert soft.ours
    assert hard.ours


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "00" * 32},
        {"split": "validation"},
        {"protocol": get_protocol("field"), "content_sha256": "ef" * 32},
    ],
)
def test_reports_that_do_not_belong_together_are_refused(changed):
    with pytest.raises(DataError, match=r"report 2 .* does not belong to the first"):
        report_page([report(), report(**changed)])
    with pytest.raises(DataError, match="at least one"):
        report_page([])


def test_transfer_has_a_family_in_each_row_and_a_norm_in_each_column():
    grid = ChartData([REPORTS["nets"]]).transfer
    assert (grid.rows, grid.columns) == (("convnet", "vit-tiny"), ("its own", "batch"))
    texts = [[(cell.text, cell.note) for cell in cells] for cells in grid.cells]
    assert texts == [[("70.0", "+7.5"), ("80.0", "+7.5")], [("60.0", "+7.5"), ("-", "")]]
    shades = [cell.shade for cells in grid.cells for cell in cells]
    assert shades == [6, 10, 1, 0]
    assert "convnet70.0+7.580.0+7.5" in words("nets")
    assert ChartData([REPORTS["usual"]]).transfer is None


def test_of_many_classes_the_worst_and_the_best_have_bars():
    said, rates = words("1000"), ChartData([REPORTS["1000"]]).rates
    shown = [n for n in range(1000) if re.search(rf"class {n}(?!\d{{1,2}}\D*class)\d+\.\d", said)]
    assert len(rates) == 1000
    assert {*range(10), *range(990, 1000)} <= {*shown}
    assert page_of("1000").count('class="own"') == 20
    assert "What is taken for what" not in said
    assert len(page_of("1000")) < 200_000


@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_wider_than_the_screen_and_nothing_complains(visit, name):
    tab = visit(name, viewport={"width": 320, "height": 800})
    for width in (320, 1100):
        tab.set_viewport_size({"width": width, "height": 800})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        plots = tab.locator("figure.plot:visible svg").all()
        assert len(plots) == page_of(name).count('class="plot wide"')
        for plot in plots:
            assert plot.bounding_box()["width"] <= width
            assert plot.locator("path").count() > 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_and_shades_have_the_colors_of_the_readers_scheme(visit, scheme):
    """Numbers stand out from every shade, and shades differ in gray."""
    tab = visit("usual", color_scheme=scheme)
    found = tab.evaluate(
        """() => ["body", "figure.plot text:last-of-type", "figure.plot use"].map((place) => {
          const style = getComputedStyle(document.querySelector(place));
          return place == "body" ? style.backgroundColor : style.fill;
        })"""
    )
    paper, *marks = [np.mean([int(n) for n in re.findall(r"\d+", color)[:3]]) for color in found]
    assert paper > 200 if scheme == "light" else paper < 50
    assert all(abs(mark - paper) > 80 for mark in marks)
    found = tab.evaluate(
        """() => Array.from({length: 11}, (_, n) => {
          const table = document.createElement("table");
          table.className = "shaded";
          table.innerHTML = `<tbody><tr><td class="shade-${n}">9</td></tr></tbody>`;
          document.body.append(table);
          const style = getComputedStyle(table.querySelector("td"));
          const canvas = document.createElement("canvas");
          const pen = canvas.getContext("2d", {willReadFrequently: true});
          return [style.color, style.backgroundColor].map((colour) => {
            pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1);
            return Array.from(pen.getImageData(0, 0, 1, 1).data.slice(0, 3));
          });
        })"""
    )
    ink, levels = luminance(found[0][0]), [luminance(on) for _, on in found]
    assert levels == sorted(levels, reverse=scheme == "light")
    assert len({round(255 * level) for level in levels}) == 11
    contrasts = [(max(ink, level) + 0.05) / (min(ink, level) + 0.05) for level in levels]
    assert min(contrasts) >= 4.5


def luminance(color):
    """As WCAG 2.1 defines it, of a colour in 0 to 255."""
    values = np.array(color) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_charts_have_words_and_their_numbers_open_by_keyboard(visit):
    tab = visit("usual")
    name = "Accuracy against bytes: this set 91.1 %; random real images 70.2 % to 98"
    assert tab.get_by_role("img", name=name).count() == 1
    assert tab.locator("svg:not([role=img]):not([aria-hidden])").count() == 0
    summary = tab.locator("summary").first
    summary.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("details[open] td").first.is_visible()
    assert tab.locator(".scroll:not([tabindex])").count() == 0
    assert tab.get_by_role("heading", level=1).count() == 1


def test_hostile_words_are_shown_and_run_nothing(visit):
    tab = visit("hostile")
    assert tab.title() == f"{upright(TEXT)} on {upright(TEXT)}, evaluated"
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.locator("img, iframe, object, main a, main style").count() == 0
    assert "\u202e" not in tab.content()
    assert tab.locator(".rates tbody th").all_text_contents() == [upright(name) for name in NAMES]
    assert tab.locator("h1").text_content() == upright(TEXT)


def test_the_policy_lets_nothing_run(chromium, written):
    text = (written / "usual.html").read_text(encoding="utf-8")
    assert "unsafe" not in text
    assert not re.search(r"""\s(?:src|href|action)=["'](?!data:|#)|url\(|@import""", text)
    strange = (
        "<script>document.title = 'hit'</script><style>body { background: red }</style>"
        "<iframe src='x.html'></iframe><img src='x.png'>"
    )
    path = written / "strange.html"
    path.write_text(text.replace("</main>", f"{strange}</main>"), encoding="utf-8")
    tab, refused = chromium.new_page(), []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(path.as_uri())
    assert tab.title() == "toys-ipc2 1.2.3 on toys, evaluated"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 0, 0)"
    assert sum("Content Security Policy" in text for text in refused) >= 4
    tab.close()


def test_it_is_known_as_our_page_and_always_the_same(written):
    text = (written / "usual.html").read_text(encoding="utf-8")
    assert is_page(text.encode())
    assert report_page(REPORTS["usual"]) == text


NO_CURVES = {"accuracy-bytes", "per-class", "confusion"}
PICTURES = {
    "usual": NO_CURVES | {"learning-steps", "learning-seconds"},
    "1000": {"accuracy-bytes", "classes", "per-class"},
    "hostile": NO_CURVES,
    "nets": NO_CURVES | {"transfer"},
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_open_and_none_is_empty(name):
    found = report_pictures(REPORTS[name])
    assert {*found} == {f"{one}.png" for one in PICTURES[name]}
    for content in found.values():
        image = Image.open(io.BytesIO(content))
        assert image.format == "PNG"
        assert min(image.size) > 150
        assert max(image.size) < 4000
        below = np.array(image.convert("L"))[80:-60]  # no heading, and no key
        assert (below < 200).mean() > 0.002


def test_draws_of_a_prior_are_its_own(toys):
    gallery, data = Gallery(toys), DistilledDataset(toys)
    indices = np.arange(2, 150, 5)  # of class 2, in one epoch
    own = indices[data.drawer.items(0, indices) == gallery._items(2)[0]][:8]
    draws = torch.stack([torch.as_tensor(data.draw(0, int(index))[0]) for index in own])
    assert torch.equal(gallery.repeats(2, len(own)), draws)


def test_a_distance_is_the_root_of_the_mean_squared_difference():
    images = torch.tensor([0, 3, 9], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 2, 2)
    assert distance(images) == pytest.approx((3 + 9 + 6) / 3)
    noisy = torch.randint(0, 256, (4, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    pairs = [
        (a - b).double().square().mean().sqrt() for n, a in enumerate(noisy) for b in noisy[:n]
    ]
    assert distance(noisy.to(torch.uint8)) == pytest.approx(float(sum(pairs) / 6))


def test_the_set_shows_how_much_draws_of_a_prior_differ(toys, pixels):
    rows = (row("distilled", 0.9, 9000, curve=False),)
    of = report(rows, content_sha256=toys.manifest.content_sha256)
    page, gallery = report_page(of, toys), Gallery(toys)
    said = Reader(page).words
    for label, name in enumerate(CLASSES):
        draws, means = gallery.repeats(label, 10), gallery.means(label, 24)
        between = f", {distance(means):.1f} between priors" if len(means) > 1 else ""
        assert f"“{name}”: {distance(draws):.1f} between draws{between}" in said
    assert page.count("data:image/png") == 50
    image = Image.open(io.BytesIO(report_pictures(of, toys)["diversity.png"]))
    assert min(image.size) > 150
    stored = report(rows, content_sha256=pixels.manifest.content_sha256)
    assert "Draws of one prior" not in report_page(stored, pixels)
    with pytest.raises(ArtifactError, match="evaluate it again"):
        report_page(of, pixels)


def command(*words):
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_command_writes_what_is_asked_for_and_over_nothing_of_others(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(REPORTS["no bytes"].dump()))
    page, folder = tmp_path / "report.html", tmp_path / "png"
    assert command(path, "--html", page, "--png", folder).exit_code == 0
    assert page.read_text(encoding="utf-8") == page_of("no bytes")
    pictures = {one.name: one.read_bytes() for one in folder.iterdir()}
    assert pictures == report_pictures(REPORTS["no bytes"])
    assert command(path, "--html", page).exit_code == 0  # our own page is replaced
    page.write_text("<p>mine")
    refused = command(path, "--html", page)
    assert refused.exit_code == 2
    assert page.read_text() == "<p>mine"
    assert command(path, "--html", tmp_path / "report.txt").exit_code == 2
    assert command(path, "--png", path).exit_code == 2
    nowhere = command(path)
    assert nowhere.exit_code == 2
    assert "say where" in nowhere.output
    assert command(tmp_path / "none.json", "--png", tmp_path).exit_code == 2


def test_what_cannot_be_written_is_refused_before_anything_is_trained(tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<p>mine")
    for option in (["--html", str(page)], ["--png", str(page)], ["--html", "report.txt"]):
        refused = CliRunner().invoke(app, ["evaluate", "no-such-set", *option])
        assert refused.exit_code == 2
        assert option[1].rpartition("/")[2] in re.sub(r"[│\s]", "", refused.output)
