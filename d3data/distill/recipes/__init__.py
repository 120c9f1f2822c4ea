"""The recipes that come with the package, as text."""

from importlib import resources
from importlib.resources.abc import Traversable

from d3data.errors import RecipeError, nearest


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _folder().iterdir()
        if entry.name.endswith(".toml")
    )


def recipe_text(name: str) -> str:
    """The TOML of a recipe of the package, with its comments.

    Raises:
        RecipeError: there is none of this name.
    """
    if name not in recipe_names():
        raise RecipeError(f"unknown recipe {name!r}: {nearest(name, recipe_names())}")
    return (_folder() / f"{name}.toml").read_text(encoding="utf-8")


def _folder() -> Traversable:
    return resources.files("d3data") / "distill" / "recipes"
