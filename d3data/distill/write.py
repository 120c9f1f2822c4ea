"""The end of a run: finished subtasks become an artifact."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from d3data import artifact
from d3data.artifact.manifest import About, Method
from d3data.distill.jobs import read_state
from d3data.distill.plan import Plan, labels_of
from d3data.distill.recipe import Recipe
from d3data.utils.device import versions


def write_artifact(plan: Plan, folder: Path) -> artifact.Artifact:
    """Write the artifact of a run whose jobs are all done.

    Raises:
        RunError: a result is not the one that was written.
        ArtifactError: the disk is full.
    """
    recipe, task, content = plan.recipe, plan.task, plan.content
    parts = [job.part(task) for job in plan.subtasks]
    for number, job in enumerate(plan.labels):
        tensors = {**parts[number].tensors, "labels": job.labels()}
        parts[number] = replace(parts[number], tensors=tensors, quantization=recipe.quantization)
    states = [read_state(job.place) for job in plan.subtasks]
    return artifact.write(
        folder,
        spec=recipe.source,
        image=content.image,
        preprocessing=content.preprocessing,
        classes=content.classes,
        parts=parts,
        about=about(
            plan, seconds=sum(state["seconds"] for state in states), device=states[0]["device"]
        ),
        labels=labels_of(recipe),
        draws_per_class=recipe.draws_per_class,
        extras={"recipe.toml": recipe.to_toml().encode()},
    )


def about(plan: Plan, *, seconds: float, device: str) -> About:
    """Where the artifact of a run comes from; `seconds` of work went into its subtasks.

    Raises:
        RecipeError: a name in the recipe is not one that an artifact can have.
    """
    recipe, task = plan.recipe, plan.task
    values = {
        "name": recipe.name,
        "version": recipe.version,
        "method": method(recipe),
        "provenance": {
            "task": task.name,
            "licence": task.license,
            "source": task.source,
            "fingerprint": task.fingerprint,
            "images": len(task.train),
            "recipe_sha256": recipe.identity,
            "seeds": (str(recipe.seed),),
            "versions": versions(),
            "device": device,
            "seconds": round(seconds, 1),
            "date": datetime.now(UTC).date().isoformat(),
        },
    }
    return About.parse(values, where=f"the recipe {recipe.name}")


def method(recipe: Recipe) -> Method:
    """The method of a recipe, by its source and its objectives, with their papers."""
    leaves = recipe.objective.leaves if recipe.objective else ()
    kinds = dict.fromkeys([recipe.source.kind, *(leaf.kind for leaf in leaves)])
    papers = dict.fromkeys([recipe.source.reference, *(leaf.reference for leaf in leaves)])
    return Method(name=" + ".join(kinds), reference="; ".join(filter(None, papers)))
