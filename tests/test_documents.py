"""What documents show is what the code takes."""

import re
import tomllib
from pathlib import Path

import pytest

from d3data.distill import Recipe, load_recipe, recipe_names
from d3data.evaluation.protocols import protocols

ROOT = Path(__file__).parent.parent


def test_the_recipe_that_is_shown_as_published_is_the_one_that_is_shipped():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r'```toml\n(name = ".*?)```', text, re.DOTALL)
    recipe = Recipe.parse(tomllib.loads(shown), where="docs/recipes.md")
    shipped = load_recipe("imagenet-ipc1")
    named = {"name": recipe.name, "description": recipe.description}
    assert recipe == shipped.model_copy(update=named)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_named_as_their_files(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=str)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_protocol_is_explained():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in protocols)
