"""The page, in a real browser: what people see, with which keys, and that nothing else happens."""

import base64
import hashlib
import html
import importlib
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import made
from d3data.cards import Gallery, page
from d3data.cards.html_page import CLASSES
from d3data.data.dataset import DistilledDataset
from d3data.images.preprocessing import Preprocessing
from d3data.utils.text import upright
from showing import NAMES, TEXT, facts

GATHERED = """images => images.map(image => {
  const canvas = document.createElement("canvas");
  canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data);
})"""


@pytest.fixture(scope="module")
def written(toys, pixels, hostile, tmp_path_factory):
    """The page of each set, by name."""
    folder = tmp_path_factory.mktemp("pages")
    for name, artifact in {"toys": toys, "pixels": pixels, "hostile": hostile}.items():
        text = page(facts(artifact), Gallery(artifact))
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def visit(chromium, written):
    """Opens a page; what went wrong and what was asked for is noted, and must be nothing."""
    contexts, seen = [], []

    def opened(name, **options):
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}} | options)
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(5000)
        log = SimpleNamespace(faults=[], requests=[], page=(written / f"{name}.html").as_uri())
        seen.append(log)
        tab.on("pageerror", lambda fault: log.faults.append(str(fault)))
        tab.on("console", lambda message: log.faults.append(message.text))
        tab.on("dialog", lambda dialog: log.faults.append(dialog.message))
        tab.on("request", lambda request: log.requests.append(request.url))
        tab.goto(log.page)
        return tab

    yield opened
    for context in contexts:
        context.close()
    for log in seen:
        assert log.faults == []
        assert [url for url in log.requests if not url.startswith("data:")] == [log.page]


def images(tab, place):
    """The images in a place of the page, as they are packed."""
    tab.evaluate("() => Promise.all([...document.images].map(image => image.decode()))")
    values = np.array(tab.locator(f"#{place} img, img#{place}").evaluate_all(GATHERED), np.uint8)
    side = round((values.shape[1] / 4) ** 0.5)
    return values.reshape(-1, side, side, 4)[..., :3]


def on_screen(tab, place):
    """What the middle of each image pixel looks like in a screenshot of the first image there."""
    shot = tab.locator(f"#{place} img, img#{place}").first.screenshot()
    sheet = np.array(Image.open(io.BytesIO(shot)).convert("RGB"))
    middles = (np.arange(8) + 0.5) / 8
    rows, columns = (np.floor(middles * size).astype(int) for size in sheet.shape[:2])
    return sheet[np.ix_(rows, columns)]


def drawn(toys, label):
    """The first draws of a class, as arrays."""
    data = DistilledDataset(toys)
    draws = [data.draw(0, turn * 5 + label)[0] for turn in range(24)]
    return torch.stack(draws).permute(0, 2, 3, 1).numpy()


def choose(tab, name):
    tab.locator("label", has_text=name).click()


def test_a_class_is_chosen_by_a_click(visit, toys):
    tab = visit("toys")
    assert tab.title() == "toys-ipc2 (toys, distilled)"
    assert np.array_equal(images(tab, "draws"), drawn(toys, 0))
    assert np.array_equal(on_screen(tab, "draws"), drawn(toys, 0)[0])
    choose(tab, "cat")
    assert np.array_equal(images(tab, "draws"), drawn(toys, 2))
    assert np.array_equal(on_screen(tab, "draws"), drawn(toys, 2)[0])
    means = Gallery(toys).means(2, 24).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images(tab, "means"), means)
    assert tab.get_by_role("img", name="24 draws of “cat”").count() == 1
    assert tab.get_by_role("img", name="3 of 3 priors of “cat”, without noise").count() == 1
    assert tab.locator("#draws-caption").inner_text() == "24 draws of “cat”"


def test_a_class_is_chosen_by_keyboard(visit, toys):
    tab = visit("toys")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.value") == "0"
    ring = tab.locator("input:checked + span").evaluate("e => getComputedStyle(e).outlineStyle")
    assert ring == "solid"
    tab.keyboard.press("ArrowRight")
    assert tab.get_by_role("radio", name="bee").is_checked()
    assert np.array_equal(images(tab, "draws"), drawn(toys, 1))
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    assert tab.get_by_role("radio", name="eel").is_checked()
    assert np.array_equal(images(tab, "draws"), drawn(toys, 4))


def test_the_slider_walks(visit, toys):
    tab = visit("toys")
    choose(tab, "cat")
    frames = Gallery(toys).walk(2, 25).images.permute(0, 2, 3, 1).numpy()
    name = re.compile("From prior 1 of “cat” to prior . of “cat”")
    slider = tab.get_by_role("slider", name=name)
    assert np.array_equal(images(tab, "walk-frame")[0], frames[0])
    slider.focus()
    for _ in range(6):
        tab.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "25 % of the way"
    assert np.array_equal(images(tab, "walk-frame")[0], frames[6])
    assert np.array_equal(on_screen(tab, "walk-frame"), frames[6])
    tab.keyboard.press("End")
    assert np.array_equal(images(tab, "walk-frame")[0], frames[24])
    box = slider.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for place, frame in (("walk-frame", 12), ("walk-start", 0), ("walk-end", 24)):
        assert np.array_equal(images(tab, place)[0], frames[frame])
        assert np.array_equal(on_screen(tab, place), frames[frame])
    section = tab.get_by_role("region", name="Between two priors")
    assert section.is_visible()
    choose(tab, "dog")
    assert not section.is_visible()
    choose(tab, "ant")
    assert section.is_visible()


def test_stored_images_have_no_walk(visit):
    tab = visit("pixels")
    assert tab.locator("#walk, #means").count() == 0
    choose(tab, "cat")
    assert "learned pixel by pixel" in tab.locator("main").inner_text()


def test_roles_and_names_for_those_who_listen(visit):
    tab = visit("toys")
    assert tab.locator("html").get_attribute("lang") == "en"
    assert tab.get_by_role("main").count() == 1
    headings = [h.inner_text() for h in tab.get_by_role("heading", level=2).all()]
    assert headings == ["Draws", "Between two priors", "Where the bytes go", "What it reaches",
                        "What to know", "How it was made"]  # fmt: skip
    assert tab.get_by_role("heading", level=1).count() == 1
    assert tab.get_by_role("group", name="Class").count() == 1
    assert [r.get_attribute("value") for r in tab.get_by_role("radio").all()] == list("01234")
    assert tab.locator("img:not([alt])").count() == 0
    assert tab.locator("figcaption[aria-live=polite]").count() == 1
    chart = tab.get_by_role("img", name=re.compile("Accuracy against bytes: this set 91.0 %; "))
    assert chart.count() == 1


@pytest.mark.parametrize("name", ["toys", "hostile"])
def test_nothing_is_wider_than_the_screen(visit, name):
    tab = visit(name)
    for width in (320, 375, 1200):
        tab.set_viewport_size({"width": width, "height": 700})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_words_stand_out_from_the_paper_in_light_and_dark(visit):
    tab = visit("toys")
    places = ["h1", ".lede", "figcaption", ".note", "dt", "td", "thead th", "footer p",
              "input:not(:checked) + span", "input:checked + span"]  # fmt: skip
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        background = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        level = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
        assert level > 200 if scheme == "light" else level < 50
        for place in places:
            colors = tab.locator(place).first.evaluate(
                """e => { let on = e;
                  while (getComputedStyle(on).backgroundColor === "rgba(0, 0, 0, 0)")
                    on = on.parentElement;
                  return [getComputedStyle(e).color, getComputedStyle(on).backgroundColor]; }"""
            )
            assert contrast(*colors) >= 4.5, place


def contrast(one, other):
    """The ratio of luminances that WCAG 2.1 asks for, of two colours as CSS writes them."""
    levels = []
    for color in (one, other):
        values = np.array([int(v) for v in re.findall(r"\d+", color)[:3]]) / 255
        linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
        levels.append(linear @ [0.2126, 0.7152, 0.0722] + 0.05)
    return max(levels) / min(levels)


def test_numbers_are_those_of_ledger_and_report_and_differ_without_color(visit, toys):
    tab = visit("toys")
    words = re.sub(r"\s+", " ", tab.locator("main").inner_text())
    for what, size, _ in facts(toys).spent:
        assert f"{what} {size:,} " in words
    assert f"this set 91.0 ± 1.4 – 2,000 {toys.ledger.content_bytes:,}" in words
    assert facts(toys).protocol in words
    shades = [float(r.get_attribute("fill-opacity")) for r in tab.locator(".bar rect").all()]
    assert shades == sorted(set(shades), reverse=True)


def test_hostile_words_are_shown_and_run_nothing(visit):
    tab = visit("hostile")
    assert tab.title() == f"toys-ipc2 ({upright(TEXT)}, distilled)"
    for number, name in enumerate(map(upright, NAMES)):
        radio = tab.locator("input[type=radio]").nth(number)
        radio.check()
        assert tab.locator("#draws").get_attribute("aria-label") == f"24 draws of “{name}”"
        assert tab.locator("#draws-caption bdi").text_content() == name
    assert "\u202e" not in tab.content()
    assert tab.locator("main img[src=x], main script").count() == 0
    assert tab.evaluate("document.scripts.length") == 2


def test_the_policy_lets_nothing_else_run(chromium, written):
    text = (written / "toys.html").read_text(encoding="utf-8")
    assert not re.search(r"""\s(?:src|href|action)=["'](?!data:|#)""", text)
    strange = (
        "<script>document.title = 'hit'</script><img src='x' onerror=\"document.title = 'hit'\">"
        "<style>body { background: red }</style><iframe src='x.html'></iframe>"
    )
    path = written / "strange.html"
    path.write_text(text.replace("</main>", f"{strange}</main>"), encoding="utf-8")
    tab, refused = chromium.new_page(), []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(path.as_uri())
    assert tab.title() == "toys-ipc2 (toys, distilled)"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 0, 0)"
    assert sum("Content Security Policy" in text for text in refused) >= 4
    tab.close()


def test_a_set_has_one_page_with_a_policy_of_just_these_rules(toys, written):
    text = (written / "toys.html").read_text(encoding="utf-8")
    assert page(facts(toys), Gallery(toys)) == text
    policy = re.search('http-equiv="Content-Security-Policy" content="(.*?)"', text)[1]
    rules = dict(rule.split(" ", 1) for rule in html.unescape(policy).split("; "))
    ours = [re.search(f"<{tag}>(.*?)</{tag}>", text, re.S)[1] for tag in ("style", "script")]
    hashes = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in ours]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{hashes[0]}'",
        "script-src": f"'sha256-{hashes[1]}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A thousand classes."""
    part = made.part(made.SPECS["gaussian"], tuple(range(1000)), (1,) * 1000)
    folder, names = tmp_path_factory.mktemp("many") / "many", [f"class {n}" for n in range(1000)]
    return made.write(folder, parts=[part], classes=names, draws_per_class=24)


@pytest.mark.parametrize("budget", [200_000, 1])
def test_the_page_of_many_classes_is_bounded_and_says_so(
    many, visit, written, monkeypatch, budget
):
    monkeypatch.setattr(importlib.import_module("d3data.cards.html_page"), "BUDGET", budget)
    text = page(facts(many, reported=False), Gallery(many))
    assert len(text) < 1.5 * budget + 60_000
    shown = text.count('type="radio"')
    assert 1 <= shown <= CLASSES
    assert f"{shown} of 1,000 classes" in text
    assert "evenly spread over the list" in text
    (written / "many.html").write_text(text, encoding="utf-8")
    tab = visit("many")
    name = f"class {(shown - 1) * 1000 // shown}"
    if shown > 1:
        choose(tab, name)
    assert tab.locator("#draws-caption").inner_text() == f"24 draws of “{name}”"


def test_large_images_are_packed_with_loss_and_it_says_so(tmp_path):
    shapes = {"pixels": (2, 3, 96, 96), "step_size": (1,)}
    tensors = {name: made.uniform(shape, 1, 2) for name, shape in shapes.items()}
    found = made.artifact.write(
        tmp_path / "large",
        spec=made.SPECS["pixels"],
        image=made.IMAGE.model_copy(update={"size": 96}),
        preprocessing=Preprocessing(channels=3, size=96, fit="crop"),
        classes=("ant", "bee"),
        parts=[made.Part((0, 1), (1, 1), tensors)],
        about=made.ABOUT,
    )
    text = page(facts(found, reported=False), Gallery(found))
    assert "packed with some loss" in text
    assert "data:image/jpeg;base64," in text
    assert "data:image/png" not in text
