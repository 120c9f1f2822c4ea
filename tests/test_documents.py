"""What documents show is what the code takes."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import fmean

import pytest
from PIL import Image
from typer.testing import CliRunner

from d3data import artifact
from d3data.cli.commands import app
from d3data.distill import Recipe, get_recipe, list_recipes
from d3data.evaluation.protocols import protocols
from d3data.evaluation.report import read_report, stored_report
from d3data.evaluation.studies import read_page, read_study
from d3data.hub.index import ZOO
from d3data.images.formats import columns, folders, layout, metadata, webdataset
from d3data.images.tasks import TaskSpec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_recipe_that_is_shown_as_published_is_the_one_that_is_shipped():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'```toml\n(name = ".*?)```', text, re.DOTALL)
    recipe = Recipe.parse(tomllib.loads(shown), where="docs/recipes.md")
    shipped = get_recipe("imagenet-ipc1")
    named = {"name": recipe.name, "description": recipe.description}
    assert recipe == shipped.model_copy(update=named)


@pytest.mark.parametrize(("name", "page"), [("methods", "methods.md"), ("studies", "study.md")])
def test_pages_that_scripts_write_are_current(name, page):
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "scripts" / name))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(script)
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text == script.page(), f"run: python scripts/{name}"


def test_verdicts_of_studies_quote_accuracies_of_their_tables():
    kept = [read_page(path) for path in (ROOT / "benchmarks/results/studies").glob("*.json")]
    means = {f"{100 * fmean(row.accuracies):.1f}" for page in kept for row in page.results}
    for page in kept:
        study = read_study(ROOT / "examples/studies" / f"{page.study}.toml")
        quoted = set(re.findall(r"(?<![\d.])\d+\.\d(?![\d.]*\d| times)", study.verdict))
        assert quoted, f"{page.study} has no number"
        assert not quoted - means, f"{page.study}: of no row: {sorted(quoted - means)}"


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_are_named_as_their_files(name):
    assert get_recipe(name).name == name


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=str)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_addresses_of_the_project_stand_in_one_file():
    hosts = r"github\.com/d3data|d3data\.github\.io|githubusercontent\.com/d3data"
    pages = [*ROOT.glob("*.*"), *(ROOT / ".github").rglob("*.*"), *(ROOT / "docs").rglob("*.md")]
    texts = {page.name: page.read_text(encoding="utf-8") for page in pages if page.is_file()}
    assert [name for name, text in texts.items() if re.search(hosts, text)] == ["pyproject.toml"]


@pytest.mark.parametrize("place", sorted(ZOO.iterdir()), ids=lambda place: place.name)
def test_the_readme_tells_what_sets_are_worth(place):
    found = artifact.read(place)
    report, ledger = stored_report(found), found.ledger
    assert report is not None
    size = f"{ledger.content_bytes:,} ({ledger.published_values:,} values)"
    scores = {row.name: f"{row.mean:.1%} ± {row.std:.1%}".replace("%", "") for row in report.rows}
    rivals = [scores.get(name, "–") for name in ("random", "k-means", "compressed")]
    (line,) = re.findall(rf"^\| `{place.name}` \|.*$", README, re.MULTILINE)
    told = [size, scores["distilled"], under_field(found), *rivals]
    assert line.removesuffix(" |").split(" | ")[2:] == told


def under_field(found: artifact.Artifact) -> str:
    """What the README says of a set under `field`: of as few networks as there are, or a dash."""
    kept = ROOT / "benchmarks/results/field" / f"{found.manifest.about.name}.json"
    if not kept.exists():
        return "–"
    report = read_report(kept.read_bytes(), where=str(kept))
    assert report.protocol == protocols["field"]
    assert report.content_sha256 == found.manifest.content_sha256, f"of another version: {kept}"
    (row,) = report.rows
    spread = f" ± {row.std:.1%}" if len(row.trials) > 1 else ""
    return f"{row.mean:.1%}{spread}".replace("%", "")


def test_the_notice_says_whose_images_each_shipped_set_is_made_of():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    named = re.findall(r"^\S*-\w*ipc\d+(?:, \S+-\w*ipc\d+)*$", notice, re.MULTILINE)
    assert sorted(", ".join(named).split(", ")) == sorted(place.name for place in ZOO.iterdir())


def test_every_protocol_is_explained():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in protocols)


def blocks(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_fixture_for_tests_of_others_can_be_copied(tmp_path):
    for block in blocks(ROOT / "docs" / "ci.md"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    plain = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def test_the_lines_for_tests_of_others_do_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (command,) = blocks(ROOT / "docs" / "ci.md", "sh")
    ended = CliRunner().invoke(app, command.split()[1:])
    assert ended.exit_code == 0, ended.output
    names: dict = {}
    for block in blocks(ROOT / "docs" / "ci.md"):
        if not block.startswith("#"):
            exec(block, names)
    assert (names["image"].mode, names["image"].size, type(names["label"])) == (
        "RGB",
        (32, 32),
        int,
    )
    assert names["images"].shape == (1000, 8, 8)
    assert names["images"].max() == 1
    assert sorted(set(names["labels"])) == list(range(10))
    assert names["classes"].tolist() == list("0123456789")


def _row(text: str, start: str) -> set[str]:
    (cells,) = re.findall(rf"^\| {start} \| ([^|]*) \|", text, re.MULTILINE)
    return set(re.split(r", | and ", cells.partition(";")[0]))


def test_the_page_about_data_lists_what_is_understood():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for part, words in layout.WORDS.items():
        assert _row(text, part) == {*words}
    assert _row(text, "image column") == {*columns.USUAL["image"]}
    assert _row(text, "label column") == {*columns.USUAL["label"]}
    assert _row(text, "column of paths in metadata") == {*columns.USUAL["file"]}
    assert _row(text, "column of splits") == {*columns.USUAL["split"]}
    assert _row(text, "label member of shards") == {webdataset.LABEL}
    assert all(f"`{name}`" in text for name in metadata.NAMES)
    (suffixes,) = re.findall(r"the suffixes (.*?), whatever", text)
    listed = re.split(r", | and ", suffixes.replace(" (its first frame)", ""))
    known = {*listed, *(suffix[1:] for suffix in Image.registered_extensions())}
    assert {kind for kind in known if folders.is_image(f"x.{kind}")} == {*listed}
    options = {"columns", "split", "classes", "white", "name"}
    assert {*re.findall(r"^\| .*? \| `--(\w+)", text, re.MULTILINE)} == options
    for table in re.findall(r"^\| .*? \| `--.*? \| `(.*?)` \|$", text, re.MULTILINE):
        TaskSpec.parse({"name": "x", **tomllib.loads(table)}, where="docs/data.md")
