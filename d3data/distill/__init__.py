"""Distillation: a recipe becomes a run, a run becomes an artifact."""

from typing import TYPE_CHECKING

from d3data.distill.context import ObjectiveContext
from d3data.distill.objectives import Objective, get_objective, list_objectives
from d3data.distill.objectives.base import sample_items, sample_real
from d3data.distill.pretraining import pretrain_generator
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe, list_recipes
from d3data.distill.run_status import Status, SubtaskStatus, status
from d3data.distill.runs import prepare, run
from d3data.executors.base import Done, Executor, Failed, Inline, Retries
from d3data.executors.processes import Processes
from d3data.executors.rays import Ray
from d3data.executors.slurm import Slurm
from d3data.utils.progress import Progress
from d3data.utils.renamed import moved

__all__ = [
    "Done",
    "Executor",
    "Failed",
    "Inline",
    "Objective",
    "ObjectiveContext",
    "Processes",
    "Progress",
    "Ray",
    "Recipe",
    "Retries",
    "Slurm",
    "Status",
    "SubtaskStatus",
    "get_objective",
    "get_recipe",
    "list_objectives",
    "list_recipes",
    "prepare",
    "pretrain_generator",
    "run",
    "sample_items",
    "sample_real",
    "status",
]

if not TYPE_CHECKING:
    __getattr__ = moved(
        __name__,
        Event="d3data.distill:Progress",
        load_recipe="d3data.distill:get_recipe",
        recipe_names="d3data.distill:list_recipes",
    )
