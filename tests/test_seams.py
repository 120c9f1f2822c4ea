"""A method and a source of one's own: what it takes to add them, and that nothing is missing."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

import d3data
import tiny_runs as runs
from d3data import artifact, distill
from d3data.distill.experts import ExpertPlan
from d3data.distill.objectives import Objective
from d3data.errors import RecipeError

ROOT = Path(d3data.__file__).parent

OBJECTIVE = '''
import torch

from d3data.distill.objectives import Objective
from d3data.distill.objectives.base import sample_items, sample_real


class Momentum(Objective):
    """Asks that mean images be right, as a running mean that survives restarts sees them."""

    kind: str = "mine:Momentum"
    decay: float = 0.5

    def losses(self, source, context):
        mean = context.keep("mean", lambda: torch.nn.Linear(1, 1))
        for step in context.step_range:
            rng = context.rng("momentum", step)
            items = sample_items(source, 2, rng)
            gap = sample_real(context, 4, rng).mean(1)
            drawn = source.images(items.flatten(), rng).unflatten(0, items.shape).mean(1)
            with torch.no_grad():
                mean.bias.mul_(self.decay).add_(gap.mean())
            yield (drawn - gap).square().mean() + mean.bias.detach().square().sum()
'''

SOURCE = '''
"""Small images, doubled."""

from typing import ClassVar, Literal

import torch
from torch import nn

from d3data.sources.base import Source, SourceSpec


class DoubledSpec(SourceSpec):
    """Images of half the size."""

    kind: Literal["doubled"] = "doubled"

    reference: ClassVar[str] = "arXiv:1811.10959"
    purposes: ClassVar[frozenset[str]] = frozenset({"small"})

    def layout(self, image, *, items, classes):
        return {"small": (items, image.channels, image.size // 2, image.size // 2)}

    def build(self, image, *, classes, step_size, labels):
        return DoubledSource(image, classes, step_size, labels)

    def describe(self, items, parts):
        return f"{items} images of half the size"


class DoubledSource(Source):
    """(N, C, H / 2, W / 2), each pixel doubled."""

    def __init__(self, image, classes, step_size, labels):
        super().__init__(classes, labels, step_size)
        half = (image.channels, image.size // 2, image.size // 2)
        self.small = nn.Parameter(torch.empty(len(classes), *half, device="meta"))
        self.latent_shape, self.values_per_image = half, image.values

    def latents(self, items, noise):
        return self.small[items]

    def decode(self, latents, white=None):
        return latents.repeat_interleave(2, -1).repeat_interleave(2, -2)
'''

START = '''
"""Real images, halved."""

from torch.nn.functional import avg_pool2d


class DoubledStart:
    """The mean of four pixels."""

    def steps(self, recipe):
        return 0

    def require_fit(self, recipe, task):
        return None

    def training(self, source, setting, context):
        return None

    def fill(self, source, stage, setting):
        context = setting.context(stage)
        for label in range(len(context.task.classes)):
            items = (source.classes == label).nonzero().flatten()
            rng = context.rng("halves", label)
            images, _ = context.task.train.batch(len(items), of=label, rng=rng)
            source.small.data[items] = avg_pool2d(images, 2)
'''

LIFE = """
import sys
import pytest, torch
import d3data, tiny_runs as runs
from d3data import artifact, cards, distill
from d3data.evaluation.protocols import Protocol
from d3data.nets import NetworkSpec

assert d3data.__file__.startswith(sys.argv[1]), d3data.__file__
recipe = runs.recipe(source={"kind": "doubled"}, optimizers={"small": {"learning_rate": 0.01}})
made = artifact.read(distill.run(recipe, out="run", executor="inline"))
made.check(), made.check_golden()
assert made.ledger.purposes["small"] > 0
data = d3data.load("./run/artifact", output="float")
assert data[0][0].shape == (1, 8, 8)
small, image = made.sources()[0].small[0, 0], data.batch(0, [0])[0][0, 0]
assert torch.equal(image[::2, ::2], small) and torch.equal(image[1::2, 1::2], small)
assert "20 images of half the size" in cards.card(cards.Facts.of(made))
network = NetworkSpec(width=4)
tiny = {"name": "tiny", "version": 1, "network": network, "networks": 1, "steps": 2, "batch": 16}
tiny = Protocol(**tiny, learning_rates=(0.05,), augment="none")
report = d3data.evaluate(data, protocol=tiny, split="validation", baselines=[])
assert 0 <= report.rows[0].trials[0].accuracy <= 1
sys.exit(pytest.main(["-qk", "doubled", "test_laws.py"]))
"""


def python(code: str, *arguments: str, cwd: Path, path: list[Path]) -> None:
    """Run a program with these folders on its path."""
    changed = {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code, *arguments],
        check=True,
        cwd=cwd,
        env={**os.environ, **changed},
    )


def add_line(table: Path, after: str, line: str, *, imports: str) -> None:
    """Add one line to a table, and the import it needs."""
    text = table.read_text(encoding="utf-8")
    assert text.count(after) == 1
    text = text.replace(after, f"{after}\n{line}")
    head, rest = text.split("\nfrom d3data", 1)
    table.write_text(f"{head}\n{imports}\nfrom d3data{rest}", encoding="utf-8")


def test_a_new_source_is_one_file_one_start_and_a_line_for_each(tmp_path):
    package = shutil.copytree(
        ROOT, tmp_path / "d3data", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "sources" / "doubled.py").write_text(SOURCE, encoding="utf-8")
    (package / "distill" / "starts" / "doubled.py").write_text(START, encoding="utf-8")
    add_line(
        package / "sources" / "registry.py",
        "SPECS: tuple[type[SourceSpec], ...] = (",
        "    DoubledSpec,",
        imports="from d3data.sources.doubled import DoubledSpec",
    )
    add_line(
        package / "distill" / "starts" / "__init__.py",
        "STARTS: dict[str, Start] = {",
        '    "doubled": DoubledStart(),',
        imports="from d3data.distill.starts.doubled import DoubledStart",
    )
    tests = Path(__file__).parent
    toys = (tests / "toys.py").read_text(encoding="utf-8")
    toys = toys.replace('"pixels": PixelsSpec(),', '"doubled": DoubledSpec(),')
    toys = toys.replace('"pixels": ("pixels", "step_size"),', '"doubled": ("small", "step_size"),')
    start = "        made.small.data.copy_(torch.nn.functional.avg_pool2d(_real(classes), 2))\n"
    toys = toys.replace(
        "    return made\n", f"    if kind == 'doubled':\n{start}    return made\n", 1
    )
    (tmp_path / "toys.py").write_text(
        f"from d3data.sources.doubled import DoubledSpec\n{toys}", encoding="utf-8"
    )
    shutil.copy(tests / "test_laws.py", tmp_path)
    python(LIFE, str(tmp_path), cwd=tmp_path, path=[tmp_path, tests])


def test_an_objective_of_ones_own_is_imported_where_it_distills_and_nowhere_else(tmp_path):
    (tmp_path / "mine.py").write_text(OBJECTIVE, encoding="utf-8")
    code = """
import sys, tiny_runs as runs
from d3data import distill
kind = {"kind": "mine:Momentum", "decay": 0.25}
sums = {"kind": "sum", "children": [kind, runs.DM], "weights": [1.0, 0.1]}
recipe = runs.recipe(objective=sums)
assert distill.Recipe.parse(recipe.dump(), where="again") == recipe
distill.run(recipe, out="run", workers=2)  # in workers
distill.run(recipe, out="inline", executor="inline", save_every=0)
"""
    python(code, cwd=tmp_path, path=[Path(__file__).parent])
    made = artifact.read(tmp_path / "run" / "artifact")
    inline = artifact.read(tmp_path / "inline" / "artifact")
    assert made.manifest.content_sha256 == inline.manifest.content_sha256
    assert made.manifest.about.method.name == "gaussian + mine:Momentum + dm"
    recipe = tomllib.loads(made.file("recipe.toml").decode())
    assert recipe["objective"]["children"][0] == {"kind": "mine:Momentum", "decay": 0.25}
    assert len(d3data.load(tmp_path / "run" / "artifact")[0][0]) == 1
    assert "mine" not in sys.modules


def test_a_kind_that_is_not_listed_names_the_nearest():
    with pytest.raises(RecipeError, match=r"'dmm': did you mean .*dm.*package\.module:Class"):
        runs.recipe(objective={"kind": "dmm"})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nowhere:Thing", "cannot import the objective"),
        ("json:nothing", "cannot import the objective"),
        ("json:JSONDecoder", "is not an objective: make it a subclass"),
    ],
)
def test_what_is_no_objective_is_refused(kind, message):
    with pytest.raises(RecipeError, match=message):
        assert runs.recipe(objective={"kind": kind}).objective.expert_plan


class OfOthers(Objective):
    """Looks through experts of its own."""

    kind: str = "mine:OfOthers"

    @property
    def expert_plan(self):
        return ExpertPlan(**runs.EXPERTS | {"epochs": 9})

    def losses(self, source, context):
        raise AssertionError("no run begins")


def test_an_objective_of_ones_own_shares_the_experts_of_its_sum(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(OfOthers=OfOthers))
    own = {"kind": "mine:OfOthers"}
    recipe = runs.recipe(objective={"kind": "sum", "children": [runs.MTT, own], "weights": [1, 1]})
    with pytest.raises(RecipeError, match="sum: children must share one plan of experts"):
        distill.run(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
