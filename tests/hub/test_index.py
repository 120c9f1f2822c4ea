"""Short names: what each stands for, whose list comes first, what is said where no set is."""

import json
import logging
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import hubs
from d3data import artifact
from d3data.cards import card, croissant
from d3data.cards.files import CARD, CROISSANT, finished
from d3data.cli.commands import app
from d3data.distill import Recipe, get_recipe
from d3data.errors import HubError, IntegrityError, NotPublishedError, UnknownNameError
from d3data.evaluation import protocols
from d3data.evaluation.report import stored_report
from d3data.hub import index
from d3data.hub.client import HubOptions
from d3data.testing import Flip, LocalHub
from d3data.utils.canonical_json import MOST_BYTES

Patch = pytest.MonkeyPatch
Log = pytest.LogCaptureFixture

DIGEST = "ab" * 32
PINNED = {"version": "1.2.3", "content_sha256": DIGEST}
SETS: dict[str, Any] = {
    "toys-ipc2": {"about": "toys", "repository": "me/toys", **PINNED},
    "toys-newest": {"about": "toys, whichever is newest", "repository": "me/toys"},
    "digits-ipc4": {"about": "our own digits", "repository": "me/digits"},
}


def page(**changed: Any) -> dict[str, Any]:
    return {"format": 1, "sets": SETS, "renamed": {"toys": "toys-ipc2"}} | changed


@pytest.fixture
def added(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A list of one's own, which D3DATA_INDEX names."""
    place = tmp_path / "index.json"
    place.write_text(json.dumps(page()))
    monkeypatch.setenv(index.VARIABLE, str(place))
    return place


def test_the_shipped_list_and_the_zoo_agree() -> None:
    for name, entry in index.shipped().sets.items():
        found = index.find(name)
        assert (found.shipped is not None) == (index.ZOO / name).exists()
        if found.shipped is not None:
            place = hubs.resolve(name)
            page = place.check().manifest
            assert (page.about.name, page.about.version) == (name, entry.version)
            assert hubs.resolve(f"{name}@{entry.version}") == place
        elif entry.version is not None:
            assert entry.repository is not None


def test_shipped_sets_keep_to_their_budgets_and_are_as_good_as_the_list_says() -> None:
    assert sum(path.stat().st_size for path in index.ZOO.rglob("*") if path.is_file()) <= 12e6
    for place in sorted(index.ZOO.iterdir()):
        entry, found = index.shipped().sets[place.name], hubs.resolve(place.name).check()
        assert entry.budget is not None
        assert found.ledger.published_values <= (entry.budget.values or math.inf)
        assert found.ledger.content_bytes <= (entry.budget.bytes or math.inf)
        report = stored_report(found)
        assert report is not None
        assert report.protocol == protocols.get_protocol("standard")
        assert f"{report.rows[0].mean:.1%}" == f"{entry.accuracy:.1%}"  # as the README has it


def test_shipped_sets_have_cards_and_recipes_that_are_their_own() -> None:
    for place in sorted(index.ZOO.iterdir()):
        found = artifact.read(place)
        facts = finished(found)
        assert (place / CARD).read_text(encoding="utf-8") == card(facts)
        assert (place / CROISSANT).read_text(encoding="utf-8") == croissant(facts)
        shown = tomllib.loads(found.file("recipe.toml").decode())
        recipe = Recipe.parse(shown, where=place.name)
        assert found.manifest.about.provenance.recipe_sha256 == recipe.identity
        known = get_recipe(place.name)
        assert recipe == (known.continued("") if known.warm_start.after else known)


def test_budgets_are_what_the_names_say() -> None:
    values = {"cifar10": 30720, "digits": 640, "fashion-mnist": 7840, "mnist": 7840}
    values |= {"imagenet": 12_288_000, "tiny-imagenet": 2_457_600, "tiny-imagenet-20": 245_760}
    for name, entry in index.shipped().sets.items():
        task, _, size = name.rpartition("-")
        unit, count = size.split("ipc")
        assert entry.budget is not None
        found = entry.budget.bytes if unit == "u8" else entry.budget.values
        assert found == values[task] * int(count)


def test_names_are_found_by_globs_in_order() -> None:
    assert list(index.search("digits*")) == ["digits-ipc10", "digits-ipc4"]
    assert list(index.search()) == sorted(index.shipped().sets)
    with pytest.raises(UnknownNameError, match=r"matches 'digts\*': did you mean digits-ipc"):
        index.search("digts*")
    with pytest.raises(UnknownNameError, match=r"did you mean imagenet-ipc2.*\./imagnet-ipc2"):
        index.find("imagnet-ipc2")
    with pytest.raises(UnknownNameError) as failure:
        index.find("nothing-like-it")
    listed = str(failure.value).partition("known: ")[2].partition(")")[0].split(", ")
    assert listed == [name for name, found in index.search().items() if found.published]


def test_a_set_that_is_not_published_says_how_to_make_it() -> None:
    name = next(name for name, found in index.search().items() if not found.published)
    with pytest.raises(NotPublishedError, match=f"{name} is not published yet") as failure:
        hubs.resolve(name)
    assert f"`d3data distill {name}`" in str(failure.value)
    assert f"./runs/{name}/artifact" in str(failure.value)
    ways = re.findall("`d3data ([a-z]+)", str(failure.value))
    assert set(ways) == {"distill"} <= set(get_command(app).commands)


def test_a_list_needs_nothing_heavy_and_a_set_in_the_package_no_client_of_the_hub() -> None:
    code = (
        "import sys, d3data\n"
        "from d3data.cli.commands import app\n"
        "try: app(['list'])\nexcept SystemExit: pass\n"
        "heavy = [m for m in ('torch', 'huggingface_hub') if m in sys.modules]\n"
        f"for name in ('digits-ipc4', {str(index.ZOO / 'digits-ipc4')!r}):\n"
        "    assert len(d3data.load(name)) == 1280\n"
        "print(heavy, 'huggingface_hub' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[] False"


def test_a_list_of_one_s_own_comes_first(added: Path) -> None:
    assert index.find("digits-ipc4").entry.repository == "me/digits"
    assert index.find("digits-ipc10").entry.about == index.shipped().sets["digits-ipc10"].about
    assert index.search("digits-ipc4")["digits-ipc4"].entry.repository == "me/digits"
    assert {"toys-ipc2", "mnist-ipc1"} < set(index.search())


def test_an_old_name_leads_to_the_new_one(added: Path, caplog: Log) -> None:
    with caplog.at_level(logging.WARNING):
        assert index.find("toys") == index.find("toys-ipc2")
    assert "toys is now called toys-ipc2" in caplog.text


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("not json", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps(page(format=2)), "format"),
        (json.dumps(page(format=True)), "format: must be an integer"),
        (json.dumps(page(format=1.0)), "format: must be an integer"),
        (json.dumps(page(sets={"x": {"about": "x", "accuracy": True}})), "accuracy"),
        (json.dumps(page(sets={"x": {"about": "x", "budget": {"values": True}}})), "budget"),
        (json.dumps(page(sets={"x": {"about": "a\u202eb"}})), "about"),
        (json.dumps(page(sets={"x": {"about": "a\u2028b"}})), "about"),
        (json.dumps(page(more=1)), "unknown key 'more'"),
        (json.dumps({"format": 1}), "sets"),
        (json.dumps(page(renamed={"a": "b"})), "a -> b"),
        (json.dumps(page(sets={"Bad Name": SETS["toys-newest"]})), "sets"),
        (json.dumps(page(sets={"x": {"about": "x", "repository": "x"}})), "write org/name"),
        (json.dumps(page(sets={"x": {"about": "x", "version": "1.0.0"}})), "belong together"),
        (json.dumps(page(sets={"x": {"about": "x", "accuracy": 98}})), "accuracy"),
        (json.dumps(page(sets={"x": {"about": "x", "budget": {}}})), "values or in bytes"),
        ('{"format": 1, "sets": {}, "sets": {}}', "comes twice"),
    ],
)
def test_a_bad_list_is_refused_by_name(added: Path, written: str, fault: str) -> None:
    added.write_text(written)
    with pytest.raises(HubError, match=fault) as failure:
        index.find("digits-ipc4")
    assert f"D3DATA_INDEX={added}" in str(failure.value)


@pytest.mark.parametrize("place", ["index.json", "/nowhere/index.json", "a b"])
def test_a_list_that_is_not_there(place: str, monkeypatch: Patch) -> None:
    monkeypatch.setenv(index.VARIABLE, place)
    with pytest.raises(HubError, match=r"D3DATA_INDEX=.*cannot be used"):
        index.search()


def test_a_list_may_be_a_repository(hub: LocalHub, monkeypatch: Patch, tmp_path: Path) -> None:
    company = hub.create("firm/index", {"index.json": json.dumps(page()).encode()})
    monkeypatch.setenv(index.VARIABLE, "firm/index")
    assert index.find("toys-newest").entry.repository == "me/toys"
    assert len(hub.requests) == 5  # the commit, its list, the file, and the note of the branch
    hub.requests.clear()
    index.find("toys-newest")
    assert len(hub.requests) == 1
    company.tag("v1.0.0")
    monkeypatch.setenv(index.VARIABLE, "firm/index@1.0.0")
    index.find("toys-newest")
    hub.requests.clear()
    index.find("toys-newest")
    assert len(hub.requests) == 0
    hub.stop()
    assert index.find("toys-newest").entry.repository == "me/toys"
    monkeypatch.setenv(index.VARIABLE, "firm/other")
    with pytest.raises(HubError, match="D3DATA_INDEX=firm/other cannot be used"):
        index.find("toys-newest")
    hub.start()
    hub.create("firm/other", {"x": b"x"})
    with pytest.raises(HubError, match=r"firm/other@main has no file index\.json"):
        index.find("toys")


def test_a_list_is_what_its_repository_has(hub: LocalHub, monkeypatch: Patch) -> None:
    content = json.dumps(page()).encode()
    hub.create("firm/index", {"index.json": content})
    monkeypatch.setenv(index.VARIABLE, "firm/index")
    spoilt = Flip(content.index(b"me/toys"), bits=1)  # which leaves it a list, of le/toys
    rule = hub.faults.add(spoilt, method="GET", path="*/index.json")
    assert index.find("toys-newest").entry.repository == "me/toys"
    assert rule.hits == 1
    hub.commit("firm/index", {"index.json": content + b" "})
    hub.faults.add(spoilt, method="GET", path="*/index.json", times=None)
    with pytest.raises(HubError, match=r"index\.json of firm/index: two downloads differ"):
        index.find("toys-newest")


def test_a_list_that_went_bad_in_the_cache_is_fetched_again(
    hub: LocalHub, monkeypatch: Patch, tmp_path: Path
) -> None:
    hub.create("firm/index", {"index.json": json.dumps(page()).encode()}).tag("v1.0.0")
    monkeypatch.setenv(index.VARIABLE, "firm/index@1.0.0")
    index.find("toys-newest")
    (file,) = (tmp_path / "home").glob("hub/datasets--firm--index/snapshots/*/index.json")
    file.resolve().write_bytes(b"{")
    with pytest.raises(HubError, match="not JSON"):
        index.find("toys-newest", HubOptions(local_files_only=True))
    assert index.find("toys-newest").entry.repository == "me/toys"
    hub.requests.clear()
    index.find("toys-newest")
    assert len(hub.requests) == 0


def test_so_much_of_a_list_is_read_and_no_more(
    hub: LocalHub, added: Path, monkeypatch: Patch
) -> None:
    added.write_bytes(b" " * (MOST_BYTES + 9))
    with pytest.raises(HubError, match=f"{MOST_BYTES + 1} bytes of JSON"):
        index.find("toys")
    hub.create("firm/index", {"index.json": b" " * (MOST_BYTES + 9)})
    monkeypatch.setenv(index.VARIABLE, "firm/index")
    with pytest.raises(
        HubError, match=f"has {MOST_BYTES + 9} bytes, more than the limit of {MOST_BYTES}"
    ):
        index.find("toys")
    assert hub.requests.count(path="*/resolve/*") == 0


def test_a_list_is_looked_for_where_and_as_the_set_is(
    toys: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    digest = artifact.read(toys).manifest.content_sha256
    sets = {"toys-ipc2": SETS["toys-ipc2"] | {"content_sha256": digest}}
    listed = {"index.json": json.dumps(page(sets=sets, renamed={})).encode()}
    with LocalHub() as hub, hub.using(tmp_path / "home", user="nobody"):
        hubs.there(hub, toys)
        hub.create("me/index", listed, private=True).tag("v1.0.0")
        for place, warm in (("me/index@1.0.0", 0), ("me/index", 1)):
            monkeypatch.setenv(index.VARIABLE, place)
            with pytest.raises(HubError, match="or it is private"):
                hubs.resolve("toys-ipc2")
            options = {"cache_dir": tmp_path / place, "token": "hf_test"}
            hubs.resolve("toys-ipc2", **options)
            hub.requests.clear()
            hubs.resolve("toys-ipc2", **options)
            assert len(hub.requests) == warm
            hub.requests.clear()
            hubs.resolve("toys-ipc2", cache_dir=tmp_path / place, local_files_only=True)
            assert len(hub.requests) == 0
        assert not (tmp_path / "home").exists()


def test_a_pinned_name_is_that_content_or_an_error(
    hub: LocalHub, commit: str, toys: Path, added: Path
) -> None:
    for name in ("toys-ipc2", "toys-ipc2@1.2.3", "toys-ipc2@~=1.0"):
        with pytest.raises(IntegrityError, match=f"{name} has content .* pins {DIGEST}") as fault:
            hubs.resolve(name)
        assert f"`d3data pull --force {name}`" in str(fault.value)
    assert hub.requests.count(path="*.safetensors") == 0
    for revision in ("main", commit):  # which are not held to it
        place = hubs.resolve(f"toys-ipc2@{revision}")
        assert place.content_sha256 is None
        assert place.read().manifest.about.version == "1.2.3"
    pin = {"content_sha256": artifact.read(toys).manifest.content_sha256}
    added.write_text(json.dumps(page(sets=SETS | {"toys-ipc2": SETS["toys-ipc2"] | pin})))
    for name in ("toys-ipc2", "toys-ipc2@1.2.3", "toys-ipc2@~=1.0", "toys-newest"):
        place = hubs.resolve(name)
        place.read()
        assert place.revision == commit
    hub.requests.clear()
    hubs.resolve("toys-ipc2")
    assert len(hub.requests) == 0
    with pytest.raises(NotPublishedError, match=r"has the versions 1\.2\.3"):
        hubs.resolve("toys-ipc2@2.0.0")


def test_a_pin_that_failed_is_looked_at_again(
    hub: LocalHub, commit: str, toys: Path, pixels: Path, added: Path
) -> None:
    pin = {"content_sha256": artifact.read(pixels).manifest.content_sha256}
    added.write_text(json.dumps(page(sets=SETS | {"toys-ipc2": SETS["toys-ipc2"] | pin})))
    with pytest.raises(IntegrityError, match="pins"):
        hubs.resolve("toys-ipc2")
    hub.repo("me/toys").delete_tag("v1.2.3")
    mended = hub.commit("me/toys", hubs.files_of(pixels))
    hub.repo("me/toys").tag("v1.2.3")
    assert hubs.resolve("toys-ipc2").revision == mended


def test_a_password_in_the_place_of_a_list_is_told_nowhere(monkeypatch: Patch) -> None:
    monkeypatch.setenv(index.VARIABLE, "https://me:sesame@firm.example/index.json")
    with pytest.raises(HubError, match=r"//firm\.example.*cannot be used") as failure:
        index.find("toys")
    assert "sesame" not in str(failure.value)


def test_a_set_of_the_wheel_needs_no_hub(tmp_path: Path, toys: Path, monkeypatch: Patch) -> None:
    digest = artifact.read(toys).manifest.content_sha256
    entry = index.Entry(about="toys", version="1.2.3", content_sha256=digest)
    known = index.Index(format=1, sets={"toys": entry})
    monkeypatch.setattr(index, "shipped", lambda: known)
    monkeypatch.setattr(index, "ZOO", toys.parent)
    for name in ("toys", "toys@1.2.3", "toys@~=1.0"):
        assert hubs.resolve(name).folder == toys
        hubs.resolve(name).check(golden=True)
    with pytest.raises(UnknownNameError, match=r"has no 2\.0\.0: this d3data has toys@1\.2\.3"):
        hubs.resolve("toys@2.0.0")
    other = index.Index(
        format=1, sets={"toys": entry.model_copy(update={"content_sha256": DIGEST})}
    )
    monkeypatch.setattr(index, "shipped", lambda: other)
    with pytest.raises(IntegrityError, match="pins"):
        hubs.resolve("toys").read()
