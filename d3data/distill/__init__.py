"""Distillation: a recipe becomes a run, a run becomes an artifact."""

from d3data.distill.driver import Event
from d3data.distill.executors import Done, Executor, Failed, Inline, Processes, Retries
from d3data.distill.recipe import Recipe, load_recipe, recipe_names
from d3data.distill.runs import Status, SubtaskStatus, prepare, run, status

__all__ = [
    "Done",
    "Event",
    "Executor",
    "Failed",
    "Inline",
    "Processes",
    "Recipe",
    "Retries",
    "Status",
    "SubtaskStatus",
    "load_recipe",
    "prepare",
    "recipe_names",
    "run",
    "status",
]
