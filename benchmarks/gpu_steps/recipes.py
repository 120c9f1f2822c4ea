"""Small recipes on digits, and the shipped ones whose costs are measured."""

import tomllib
from typing import Any

from d3data.distill.recipe import Recipe

EXPERTS = "experts = { count = 2, epochs = 3, network = { width = 16 } }"
MTT_AND_MMD = f"""
name = "mtt-mmd"
items_per_class = 3
steps = 4
[task]
name = "digits"
[source]
kind = "gaussian"
residual = true
decoder = {{ family = "small", width = 8, noise = 12 }}
[warm_start]
steps = 0
[objective]
kind = "alternate"
[[objective.children]]
kind = "mtt"
student_steps = 3
expert_epochs = 1
max_start_epoch = 2
batch = 20
augment = "siamese"
{EXPERTS}
[[objective.children]]
kind = "mmd"
samples = 8
bandwidth = "median"
{EXPERTS}
[optimizers.priors]
kind = "sgd"
learning_rate = 3e-4
[optimizers.decoder]
learning_rate = 3e-4
[optimizers.residual]
learning_rate = 1e-3
[optimizers.step_size]
kind = "sgd"
learning_rate = 1e-6
[subtasks]
count = 2
"""
PIXELS = f"""
name = "pixels"
items_per_class = 3
steps = 4
[task]
name = "digits"
[source]
kind = "pixels"
[objective]
kind = "sum"
weights = [1.0, 0.1]
[[objective.children]]
kind = "mtt"
student_steps = 3
expert_epochs = 1
max_start_epoch = 2
augment = "siamese"
{EXPERTS}
[[objective.children]]
kind = "dm"
samples = 8
real = 16
network = {{ width = 16 }}
[optimizers.pixels]
learning_rate = 3e-4
"""
SMALL = {"mtt+mmd": MTT_AND_MMD, "pixels": PIXELS}


def parsed(text: str, **changed: Any) -> Recipe:
    """A recipe, with some tables replaced."""
    return Recipe.parse(tomllib.loads(text) | changed, where="a recipe of the benchmark")
