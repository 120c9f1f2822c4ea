"""audit(): nearest real images, what chance explains, copies that are planted and found."""

import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

import made
from d3data import artifact, cards
from d3data.cli.commands import app
from d3data.errors import ArtifactError, D3DataError, DataError, DeviceError
from d3data.evaluation import audit, pairs
from d3data.evaluation.baselines import Photographs
from d3data.evaluation.leakage import distances, record, search
from d3data.evaluation.leakage.audit import PATH, stored_audit
from d3data.evaluation.leakage.distances import SetImages, nearest
from d3data.evaluation.leakage.search import attack, combined_p_value, p_values
from d3data.images.spec import Whitening
from spies import untouched
from toys import image_of

CPU = torch.device("cpu")
DATE = "2026-01-02"


def audited(data, task, tiny, **more):
    return audit(data, task, protocol=tiny, date=DATE, **more)


def photographs(*images):
    images = torch.cat(images)
    return Photographs(images, torch.zeros(len(images), dtype=torch.int64))


@pytest.fixture(scope="module")
def harmless(digits):
    """Images that are neither of train nor of test."""
    return digits.validation.read(range(0, len(digits.validation), 3))


@pytest.fixture(scope="module")
def planted(digits, harmless):
    """The same, a train image, and one that was altered."""
    altered = digits.train.read([101]) + 0.05 * points(1, 1, 8, 8)
    return photographs(harmless, digits.train.read([77]), altered)


@pytest.fixture(scope="module")
def of_planted(planted, digits, tiny):
    """The audit of these, and its progress."""
    events = []
    return audited(planted, digits, tiny, progress=events.append), events


@pytest.fixture(scope="module")
def of_priors(priors, digits, tiny):
    return audited(priors, digits, tiny, draws=5)


@pytest.fixture(scope="module")
def of_pixels(pixels, tiny):
    return audit(pixels, protocol=tiny, date=DATE)


def points(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def in_parts(real, size):
    return zip(torch.arange(len(real)).split(size), real.split(size), strict=True)


def test_nearest_is_what_comparing_all_pairs_finds():
    queries, real = points(37, 6), points(101, 6, seed=1)
    real[50] = queries[3]  # a copy: the matrix product alone gives a distance of 1e-3
    found, back = nearest(queries, in_parts(real, 16))
    apart = torch.cdist(
        queries.double(), real.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    assert found.row.tolist() == apart.argmin(1).tolist()
    assert torch.allclose(found.distance.double(), apart.amin(1), rtol=1e-6, atol=0)
    assert torch.allclose(back.double(), apart.amin(0), rtol=1e-6, atol=0)
    assert found.distance[3] == back[50] == 0
    real = points(20, 8) + 1000  # small distances between large points keep their digits
    queries = real + 1e-3
    found, back = nearest(queries, in_parts(real, 7))
    expected = (queries.double() - real.double()).norm(dim=1)
    assert torch.allclose(found.distance.double(), expected, rtol=1e-5)
    assert torch.allclose(back.double(), expected, rtol=1e-5)


def test_an_image_is_not_its_own_neighbor_but_its_twin_is():
    real = points(9, 4)
    real[7] = real[2]
    found, _ = nearest(real, in_parts(real, 4), skip=torch.arange(9))
    apart = torch.cdist(real, real).fill_diagonal_(torch.inf)
    assert found.row.tolist() == apart.argmin(1).tolist()
    assert (found.row[2], found.distance[2]) == (7, 0)
    alone, _ = nearest(real[:1], in_parts(real[:1], 1), skip=torch.arange(1))
    assert alone.distance.tolist() == [torch.inf]


def count_wins(members, others):
    """The AUC and the interval, from every pair."""
    won = np.array([[(m < o) + 0.5 * (m == o) for o in others] for m in members])
    variance = won.mean(1).var(ddof=1) / len(members) + won.mean(0).var(ddof=1) / len(others)
    reach = stats.norm.ppf(0.975) * math.sqrt(variance)
    return won.mean(), won.mean() - reach, won.mean() + reach


def test_the_attack_is_what_counting_all_pairs_gives_ties_as_half():
    rng = torch.Generator().manual_seed(0)
    members = torch.randint(0, 12, (40,), generator=rng).float()
    others = torch.randint(2, 14, (55,), generator=rng).float()
    found = attack(members, others)
    assert (found.auc, found.low, found.high) == pytest.approx(
        count_wins(members.tolist(), others.tolist()), abs=1e-7
    )
    ranks = stats.mannwhitneyu(others.numpy(), members.numpy()).statistic
    assert found.auc == pytest.approx(ranks / (40 * 55))
    assert attack(others, members).auc == pytest.approx(1 - found.auc)


def test_the_interval_of_the_attack_holds_the_truth_in_95_of_100_cases():
    apart, truth = 0.5, stats.norm.cdf(0.5 / math.sqrt(2))
    held = 0
    for seed in range(400):
        members, others = points(2, 60, seed=seed) + torch.tensor([[0.0], [apart]])
        found = attack(members, others)
        held += found.low <= truth <= found.high
    assert 0.92 < held / 400 < 0.98

    found = attack(torch.zeros(5), torch.ones(5))
    assert (found.auc, found.low, found.high) == (1, 1, 1)
    wide = attack(torch.zeros(2), torch.tensor([0.0, 1.0]))
    assert (wide.auc, wide.low, wide.high) == pytest.approx((0.75, 0.26001, 1.0), abs=1e-5)


def test_p_values_are_ranks_among_reference_ratios():
    p = p_values(torch.tensor([[0.1, 0.5], [0.6, 2.0]]), torch.tensor([0.5, 0.2, 0.9]))
    assert p.tolist() == [[0.25, 0.75], [0.75, 1.0]]


def test_merged_p_values_are_twice_the_median_at_most_one():
    p = torch.tensor([[0.5, 0.01, 0.02, 0.9], [0.9, 0.9, 0.9, 0.9]])
    assert combined_p_value(p).tolist() == pytest.approx([0.04, 1.0])
    assert combined_p_value(p[:, :1]).tolist() == p[:, 0].tolist()
    assert combined_p_value(p[:, :3]).tolist() == pytest.approx([0.03, 1.0])


@pytest.mark.parametrize("draws", [0, 4])
def test_harmless_items_are_suspected_as_rarely_as_stated(draws):
    """Train, test and items are of one distribution; draws of an item lie around its mean."""
    suspected = items = 0
    for seed in range(60):
        train, test, means = (
            points(n, 3, seed=3 * seed + k) for k, n in enumerate((400, 200, 30))
        )
        around = 0.3 * points(30, draws, 3, seed=1000 + seed)
        made = torch.cat([means[:, None], math.sqrt(1 - 0.3**2) * means[:, None] + around], dim=1)
        found = [
            nearest(made.flatten(0, 1), in_parts(real, 64))[0].distance for real in (train, test)
        ]
        others, _ = nearest(test, in_parts(test, 64), skip=torch.arange(200))
        usual = record.ratio(nearest(test, in_parts(train, 64))[0].distance, others.distance)
        ratios = record.ratio(*found).unflatten(0, (30, 1 + draws))
        suspected += len(search.suspects(ratios, usual))
        items += 30
    rate = 0.02 if draws else 0.01
    assert 0.001 < suspected / items < 1.3 * rate


def test_a_train_image_and_an_altered_one_are_found(of_planted):
    """And progress goes to the end of every stage."""
    found, events = of_planted
    copy, altered = found.items - 2, found.items - 1
    assert [one.space for one in found.spaces] == ["pixels", "features"]
    for one in found.spaces:
        assert {copy, altered} <= {*one.suspects}
        assert len(one.suspects) <= 2 + 4  # by chance at most half an item is expected
        first, second = one.closest[:2]
        assert (first.item, first.draw, first.train) == (copy, 0, 77)
        assert first.train_distance == pytest.approx(0, abs=1e-6)
        assert (second.item, second.train) == (altered, 101)
        assert one.attack.low < 0.5 < one.attack.high  # two of so many: nothing for an attack
    assert f"{copy}, {altered}" in found.sentences()[1]
    last = {event.stage: event for event in events}
    assert list(last) == [
        "training the network whose features are compared",
        "comparing pixels",
        "comparing features",
    ]
    assert all(event.step == event.steps for event in last.values())


def test_a_set_of_train_images_shows_in_all_numbers_and_one_of_test_images_in_none(digits, tiny):
    found = audited(photographs(digits.train.read(range(len(digits.train)))), digits, tiny)
    for one in found.spaces:
        assert len(one.suspects) > 0.95 * found.items
        assert one.attack.low > 0.95
        assert one.share_nearer > 0.5

    found = audited(photographs(digits.test.read(range(60))), digits, tiny)
    for one in found.spaces:
        assert (one.suspects, one.share_nearer, one.means[5].test) == ((), 0, 5)
        assert one.attack.auc < 0.5
        assert one.means[5].ratio > 1000
    assert "None of 60 items" in found.sentences()[1]


def test_an_image_of_train_and_of_test_leaks_nothing(digits, tiny):
    """Where both have it, nothing says which one was copied."""
    twins = replace(digits, test=digits.train)
    found = audited(photographs(digits.train.read(range(20))), twins, tiny)
    assert all(pair.ratio == pytest.approx(1, abs=0.5) for pair in found.spaces[0].means)
    assert found.spaces[0].suspects == ()
    assert found.spaces[0].share_nearer == 0.5


def test_distances_are_those_of_all_images_in_float64(planted, of_planted, digits):
    mine, (found, _) = planted.images, of_planted
    image = image_of(digits)

    def unit(images):
        mean, std = (torch.tensor(m)[:, None, None].double() for m in (image.mean, image.std))
        return (images.double() * std + mean).clamp(0, 1).flatten(1)

    for split in ("train", "test"):
        real = getattr(digits, split)
        apart = torch.cdist(unit(mine), unit(real.read(range(len(real))))) / 8
        least, pairs = apart.amin(1).tolist(), found.spaces[0].means
        distances = [getattr(pair, f"{split}_distance") for pair in pairs]
        assert distances == pytest.approx(least, rel=1e-4, abs=1e-7)
        rows = [getattr(pair, split) for pair in pairs]
        assert apart[range(len(rows)), rows].tolist() == pytest.approx(least, abs=1e-7)


def test_as_many_train_images_as_test_images_are_compared(digits):
    train, test = search.real_images(digits.train, digits.test)
    assert len(train.equal) == len(test.equal) == len(digits.test)
    assert sorted([*train.equal.tolist(), *train.rest.tolist()]) == [*range(len(digits.train))]
    assert len(test.rest) == 0
    other, _ = search.real_images(digits.test, digits.train)
    assert len(other.equal) == len(digits.test)
    again, _ = search.real_images(digits.train, digits.test)
    assert torch.equal(train.equal, again.equal)
    assert not torch.equal(train.equal, torch.arange(len(digits.test)))


def test_harmless_images_are_nearer_to_train_only_because_it_is_larger(of_planted):
    one = of_planted[0].spaces[0]
    larger = np.mean([pair.ratio < 1 for pair in one.means])
    assert larger > 0.6
    assert abs(one.share_nearer - 0.5) < larger - 0.5
    assert 0.9 < one.median_ratio < 1.1


def test_blocks_change_nothing(planted, of_planted, digits, tiny, monkeypatch):
    whole, _ = of_planted
    monkeypatch.setattr(distances, "BLOCK", 64 * 7)
    monkeypatch.setattr(distances, "CHUNK", 3)
    monkeypatch.setattr(distances, "REAL", 50)
    in_blocks = audited(planted, digits, tiny)
    for one, other in zip(whole.spaces, in_blocks.spaces, strict=True):
        assert one.suspects == other.suspects
        assert [pair.train for pair in one.means] == [pair.train for pair in other.means]
        assert one.attack.auc == pytest.approx(other.attack.auc, abs=1e-4)
        for pair, same in zip(one.means, other.means, strict=True):
            assert pair.train_distance == pytest.approx(same.train_distance, rel=1e-4)


def test_the_same_set_has_the_same_audit(pixels, of_pixels, tiny):
    assert audit(pixels.artifact.folder, protocol=tiny, date=DATE) == of_pixels
    assert of_pixels.data == "three-digits 1.0.0"
    assert of_pixels.content_sha256 == pixels.fingerprint


def test_copies_are_every_mean_and_the_first_draws_of_every_item(priors):
    copies = SetImages(priors, 5, device=CPU)
    assert len(copies) == 18 * 6
    images = copies.images(torch.arange(len(copies))).unflatten(0, (18, 6))
    means = priors.drawer.decode(priors.drawer.mean_latents(range(18)), residual=False)
    assert torch.allclose(images[:, 0], means, atol=1e-6)
    seen = {item: [] for item in range(18)}
    numbers, drawer = range(len(priors)), priors.drawer
    for epoch in range(20):
        drawn = drawer.items(epoch, numbers), drawer.images(epoch, numbers)
        for item, image in zip(*drawn, strict=True):
            seen[item].append(image)
    for item, drawn in seen.items():
        assert torch.allclose(images[item, 1:], torch.stack(drawn[:5]), atol=1e-6)
    some = torch.tensor([6 * 17 + 2, 0, 6 * 4 + 5])
    assert torch.allclose(copies.images(some), images.flatten(0, 1)[some], atol=1e-6)


def test_priors_have_the_pair_of_their_mean_and_of_their_nearest_draw(
    priors, of_priors, digits, tiny
):
    found = of_priors
    assert (found.items, found.draws, found.rate) == (18, 5, 0.02)
    copies = SetImages(priors, 5, device=CPU)
    images = copies.images(torch.arange(len(copies)))
    (each, _) = audited(photographs(images), digits, tiny).spaces
    ratios = np.array([pair.ratio for pair in each.means]).reshape(18, 6)
    one = found.spaces[0]
    assert [pair.ratio for pair in one.means] == pytest.approx(ratios[:, 0], rel=1e-4)
    assert [pair.ratio for pair in one.draws] == pytest.approx(ratios[:, 1:].min(1), rel=1e-4)
    assert [pair.draw for pair in one.draws] == (ratios[:, 1:].argmin(1) + 1).tolist()
    assert one.closest[0].ratio == pytest.approx(ratios.min(), rel=1e-4)
    assert one.share_nearer == pytest.approx(each.share_nearer)
    assert one.attack == each.attack


def test_draws_that_copy_are_suspects_though_their_mean_is_not():
    usual = torch.linspace(0.5, 1.5, 999)
    ratios = torch.ones(3, 9)
    ratios[1, 1:6] = 0.1
    ratios[2, 1:4] = 0.1
    assert search.suspects(ratios, usual) == (1,)
    ratios[2, 0] = 0.1
    assert search.suspects(ratios, usual) == (1, 2)


def test_sentences_say_what_was_measured_and_what_was_not(of_priors, of_pixels, digits):
    found = of_priors
    first, by_pixels, by_features, last = found.sentences()
    assert "18 priors' means and 5 draws of each" in first
    assert f"{len(digits.train):,} train and {len(digits.test)} test images of digits" in first
    one = found.spaces[0]
    assert f"AUC of {one.attack.auc:.3f}" in by_pixels
    assert by_features.startswith("By features")
    assert "no proof of privacy" in last
    many = found.spaces[0].model_copy(update={"suspects": tuple(range(12))})
    sentence = found.model_copy(update={"spaces": (many,)}).sentences()[1]
    assert "12 of 18 items" in sentence
    assert "at most 0.36" in sentence
    assert sentence.endswith("0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more.")
    assert "too few test images" not in " ".join(of_pixels.sentences())
    few = of_pixels.model_copy(update={"honest": 98})
    assert "too few test images" in few.sentences()[1]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"task": {"test": None}}, DataError, "no test images, and an audit"),
        ({"task": {"classes": tuple("abcdefghij")}}, DataError, "differ in"),
        ({"draws": 0}, D3DataError, "draws .* got 0"),
        ({"device": "cuda:9"}, DeviceError, "cuda:9"),
    ],
)
def test_what_cannot_be_audited_is_refused_first(pixels, digits, tiny, changes, error, message):
    task = replace(digits, **changes.get("task", {}))
    more = {name: value for name, value in changes.items() if name != "task"}
    with pytest.raises(error, match=message):
        audited(pixels, task, tiny, progress=untouched, **more)


def test_whitened_and_infinite_values_are_refused(digits, tiny, tmp_path):
    whitening = Whitening(regularization=0.1, images_sha256="ab" * 32)
    image = made.IMAGE.model_copy(update={"whitening": whitening})
    found = made.write(tmp_path / "a", image=image)
    with pytest.raises(DataError, match=r"whitened, .* cannot be compared"):
        audited(found.folder, digits, tiny, progress=untouched)
    broken = photographs(torch.zeros(400, 1, 8, 8))
    broken.images[300] = torch.nan
    with pytest.raises(ArtifactError, match="not finite"):
        audited(broken, digits, tiny)


def test_the_picture_has_a_row_for_each_pair(planted, of_planted, priors, of_priors, digits):
    content = pairs(of_planted[0], planted, digits)
    sheet = Image.open(io.BytesIO(content))
    assert sheet.mode == "RGB"
    pixels = np.asarray(sheet)
    ink = digits.train.pixels([77])[0, 0].numpy().repeat(8, 0).repeat(8, 1)
    places = [
        (y, x)
        for y in range(pixels.shape[0] - 63)
        for x in (16, 16 + 68)
        if (pixels[y : y + 64, x : x + 64, 0] == ink).all()
    ]
    assert len(places) == 2  # the set's own, and the train image beside it
    assert places[0][0] == places[1][0]
    assert b"tEXt" not in content
    # nothing is decoded where every pair is of a mean
    spaces = [
        one.model_copy(update={"closest": tuple(p for p in one.means if p.draw == 0)})
        for one in of_priors.spaces
    ]
    content = pairs(of_priors.model_copy(update={"spaces": tuple(spaces)}), priors, digits)
    assert Image.open(io.BytesIO(content)).height > 500


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def quick(tiny, monkeypatch):
    from d3data.evaluation import protocols

    monkeypatch.setitem(protocols.protocols, "quick", tiny)


def test_the_command_prints_draws_and_attaches(written, pixels, tmp_path, quick):
    folder = written(tmp_path / "set").artifact.folder
    report, picture = tmp_path / "audit.json", tmp_path / "pairs.png"
    result = run("audit", folder, "--out", report, "--pairs", picture, "--attach")
    assert "no proof of privacy" in result.stdout
    assert "shows real images" in result.stderr
    whole = record.Audit.parse(json.loads(report.read_text()), where="audit.json")
    assert len(whole.spaces[0].means) == 30
    assert picture.read_bytes().startswith(b"\x89PNG")
    found = artifact.read(folder)
    assert {entry.path for entry in found.manifest.files} >= {PATH}
    assert not list(folder.rglob("*pairs*"))
    brief = stored_audit(found)
    assert brief == whole.brief()
    assert all(not one.means and not one.draws for one in brief.spaces)
    fetched = {"d3data.json": folder / "d3data.json"}  # of the Hub, without extras
    assert stored_audit(replace(found, links=fetched)) is None
    assert found.manifest.content_sha256 == whole.content_sha256
    text = cards.card(cards.Facts.of(found))
    words = "## How near it comes to real images", "no proof of privacy", "30 items"
    assert all(part in text for part in words)
    assert "How near" not in cards.card(cards.Facts.of(pixels.artifact))


def test_cards_refuse_audits_of_other_content_and_escape_words(written, of_pixels, tmp_path):
    def facts(name, **changes):
        page = of_pixels.model_copy(update=changes).model_dump_json()
        written(tmp_path / name)
        return cards.Facts.of(artifact.extend(tmp_path / name, {PATH: page.encode()}))

    with pytest.raises(ArtifactError, match=r"audit is of content 0000.*audit it again"):
        facts("other", content_sha256="0" * 64)
    assert "](http://a.b)" not in cards.card(facts("evil", task="[x](http://a.b)"))


def test_real_images_never_get_into_an_artifact(written, pixels, tmp_path, quick):
    folder = pixels.artifact.folder
    result = run("audit", folder, "--pairs", folder / "pairs.png", code=2)
    assert "wouldlieintheartifact" in re.sub(r"[│\s]", "", result.output)
    other = written(tmp_path / "other").artifact.folder / "in" / "pairs.png"
    assert "artifact" in run("audit", folder, "--pairs", other, code=2).output
    assert not other.exists()
    run("audit", folder, "--pairs", tmp_path / "pairs.jpg", code=2)
    run("audit", "digits-ipc4", "--attach", code=2)
