"""What `d3data distill --dry-run` prints."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from d3data.cli.output import give, say
from d3data.utils.text import counted, duration, table

if TYPE_CHECKING:
    from d3data.distill.plan import Plan
    from d3data.utils.device import Resources


def give_forecast(plan: "Plan", resources: "Resources", gpu: str | None, *, as_json: bool) -> None:
    """The sizes of a plan and the time of each stage, as text or as JSON."""
    from d3data.distill.forecast import forecast, gpu_speed, start_seconds

    if plan.imagined:
        say(
            f"the images of {plan.task.name} are not on this machine: planned with as many black "
            "images, and nothing was timed"
        )
    else:
        say("timing a few steps of each stage on this machine")
    speed = None if gpu is None else gpu_speed(gpu)
    device, workers = resources.device, resources.workers
    numbers, stages = plan.numbers(), forecast(plan, device, workers=workers)
    columns = ["stage", "jobs", "steps", "TFLOP", "GB memory of a job", "GB disk", "GB read"]
    rows = [
        [
            stage.name,
            stage.jobs,
            stage.steps,
            round(stage.flops / 1e12),
            f"{stage.memory / 1e9:.2f}",
            f"{stage.disk / 1e9:.3f}",
            f"{stage.traffic / 1e9:.1f}",
            "not timed" if stage.wall is None else duration(stage.wall),
            *([] if speed is None else [duration(stage.flops / speed)]),
        ]
        for stage in stages
    ]
    columns += [f"time on {device}", *([] if gpu is None else [f"{gpu} at 30 % of its peak"])]
    lines = [table(["what", "number"], list(numbers.items())), "", table(columns, rows)]
    seconds = [stage.wall for stage in stages if stage.wall is not None]
    shown = [asdict(stage) for stage in stages]
    if len(seconds) == len(stages):
        starts = start_seconds() * sum(map(bool, plan.stages.values()))
        numbers["seconds"] = starts + sum(seconds)
        jobs = f", {counted(workers, 'job')} at a time" if workers > 1 else ""
        lines += ["", f"all: about {duration(numbers['seconds'])} on this machine{jobs}"]
    if speed is not None:
        shown = [stage | {"gpu_seconds": stage["flops"] / speed} for stage in shown]
    give("\n".join(lines), numbers | {"stages": shown}, as_json=as_json)
