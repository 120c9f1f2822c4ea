"""Recipes as files: those of the package by name, one's own by path, with single keys changed."""

import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from d3data.distill.recipe import Recipe
from d3data.errors import RecipeError, nearest

PACKAGED = resources.files("d3data") / "distill" / "recipes"


def get_recipe(recipe: str | Path, *, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe by name, or from a file written as a path, and apply `key=value` overrides.

    Args:
        recipe: a name of `d3data.distill.list_recipes()`, or a path that ends in `.toml`.
        overrides: such as `objective.children.0.student_steps=20` or `task.size=32`.

    Raises:
        RecipeError: unknown name, broken TOML, unknown key or impossible value.
    """
    where, text = str(recipe), _text(recipe)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise RecipeError(f"{where} is not TOML: {failure}") from None
    for override in overrides:
        _override(values, override)
    return Recipe.parse(values, where=where)


def list_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    names = [entry.name for entry in PACKAGED.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def recipe_text(name: str) -> str:
    """The TOML of a recipe of the package, with its comments; RecipeError if there is none."""
    if name not in list_recipes():
        raise RecipeError(f"unknown recipe {name!r}: {nearest(name, list_recipes())}")
    return (PACKAGED / f"{name}.toml").read_text(encoding="utf-8")


def _text(recipe: str | Path) -> str:
    if not str(recipe).endswith(".toml"):
        if isinstance(recipe, Path) or "/" in recipe or recipe.startswith("."):
            raise RecipeError(
                f"{recipe}: a path to a recipe must end in .toml; "
                "`d3data init FOLDER` writes one for a folder of images"
            )
        return recipe_text(recipe)
    try:
        return Path(recipe).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f"there is no {recipe}: `d3data init FOLDER` writes a recipe for images, `d3data "
            "recipes` lists those that come with d3data"
        ) from None
    except (OSError, UnicodeDecodeError) as failure:
        raise RecipeError(f"cannot read the recipe {recipe}: {failure}") from None


def _override(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: write key=value, such as steps=2000")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.strip().split(".")
    here: Any = values
    for step in parents:
        key = _key(here, step, override)
        here = here.setdefault(key, {}) if isinstance(here, dict) else here[key]
    here[_key(here, last, override)] = value


def _key(here: Any, step: str, override: str) -> Any:
    if isinstance(here, dict):
        return step
    if not isinstance(here, list):
        raise RecipeError(f"--set {override!r}: there is no {step!r} in {here!r}")
    if not step.isdecimal() or int(step) >= len(here):
        raise RecipeError(
            f"--set {override!r}: {step!r} is not a place in a list of {len(here)}, "
            "whose first is 0"
        )
    return int(step)
