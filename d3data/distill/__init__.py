"""Distillation: a recipe becomes a run, a run becomes an artifact."""

from d3data.distill.driver import Event
from d3data.distill.executors import Done, Executor, Failed, Inline, Retries
from d3data.distill.processes import Processes
from d3data.distill.recipe import Recipe, load_recipe
from d3data.distill.recipes import recipe_names
from d3data.distill.run_status import Status, SubtaskStatus, status
from d3data.distill.runs import prepare, run

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
