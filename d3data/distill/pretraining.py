"""A generator that is fitted to a task, as the file that recipes name in `warm_start.weights`."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from d3data.distill.engine import START, MetricsLog, Setting, Stage
from d3data.distill.jobs import CHECKPOINT, image_of
from d3data.distill.recipe import Recipe, WarmStart
from d3data.distill.starts.autoencoder import fit
from d3data.distill.starts.generator import GeneratorStart
from d3data.errors import ForeignRunError, RunError
from d3data.images.tasks import TaskSpec, load_task
from d3data.nets.checkpoint import Checkpoint
from d3data.sources import registry
from d3data.sources.generator import GeneratorSpec
from d3data.sources.synthesis import SynthesisSpec
from d3data.utils.atomic import write_json
from d3data.utils.device import as_device
from d3data.utils.packages import naming_packages
from d3data.utils.progress import ReportProgress, ignore


@naming_packages()
def pretrain_generator(
    task: str,
    *,
    out: str | Path,
    data: str | Path | None = None,
    size: int | None = None,
    width: int = 64,
    base: int = 1024,
    styles: int = 64,
    steps: int = 4000,
    batch: int = 64,
    seed: int = 0,
    device: str | torch.device = "cpu",
    progress: ReportProgress = ignore,
) -> Path:
    """Fit a generator that knows the classes of a task, and write it to a file.

    It is the decoder of a variational autoencoder, so its images are smooth. A folder beside the
    file, `out` with `.run`, holds what a run that was stopped goes on from, and is removed at the
    end.

    Args:
        task: a preset, a folder of `$D3DATA_DATA`, any name with `data`; or a recipe.
        out: the file to be written, `.safetensors`.
        data: where the images are.
        size: of the images, in pixels.
        width: channels of a map, at most.
        base: channels of a map times pixels of its side, at most.
        styles: length of a style.
        steps: of Adam, on `batch` images each.
        batch: images of a step.
        seed: of all random numbers.
        device: cpu, cuda, cuda:N or mps.
        progress: called with every step.

    Raises:
        RunError: `out` is there.
        ForeignRunError: the folder beside it is of other arguments or images.
        D3DataError: the images, the device or the disk cannot be used.
    """
    images, place, out = load_task(task, data=data, size=size), as_device(str(device)), Path(out)
    if out.is_file():
        raise RunError(f"{out} is there already: name another file, or remove it")
    if out.is_dir():
        raise RunError(f"{out} is a folder: name a file in it, such as {out / 'g.safetensors'}")
    sizes = {"width": width, "base": base, "styles": styles}
    network = SynthesisSpec.parse(sizes, where="pretrain_generator")
    spec = GeneratorSpec(network=network, layer=0)
    recipe = Recipe(
        name="generator",
        items_per_class=1,
        task=TaskSpec(name=images.name),
        source=spec,
        warm_start=WarmStart(steps=steps, batch=batch),
    )
    classes = torch.arange(len(images.classes))
    source = registry.blank(spec, image_of(images), classes=classes, step_size=1.0).to(place)
    setting = Setting(recipe, images, seed, place)
    folder = out.with_name(f"{out.name}.run")
    _require_same(
        folder,
        {"images": images.fingerprint, **sizes, "steps": steps, "batch": batch, "seed": seed},
    )
    checkpoint = Checkpoint(folder / CHECKPOINT, every_seconds=30.0)
    saved = checkpoint.read()
    with MetricsLog(folder / "metrics.jsonl", progress) as journal:
        journal.load_state_dict(saved.states["journal"] if saved else START)
        stage = Stage("warm start", steps, checkpoint, journal, saved)
        autoencoder, stream = GeneratorStart().training(source, setting, setting.context(stage))
        fit(autoencoder, stream, stage, rate=recipe.warm_start.learning_rate)
    autoencoder.generator(network, images).write(out)
    shutil.rmtree(folder)
    return out


def _require_same(folder: Path, asked: Mapping[str, Any]) -> None:
    """Note what a run is of; RunError if there is one in the folder that is of something else."""
    told = folder / "arguments.json"
    if (folder / CHECKPOINT).exists():
        kept = json.loads(told.read_bytes()) if told.exists() else {}
        other = [key for key, value in asked.items() if kept.get(key) != value]
        if other:
            said = ", ".join(
                f"{key} {kept.get(key, 'unknown')} and not {asked[key]}" for key in other
            )
            raise ForeignRunError(
                f"{folder} is of a run that was stopped, with {said}: give what it had, another "
                "file to write, or remove the folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(told, dict(asked))
