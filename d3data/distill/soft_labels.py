"""Soft labels from teachers trained on the whole task, as D3 adds them after the union.

Qin, Deng, Alvarez-Melis 2024, arXiv 2403.00999.
"""

import torch
from torch import Tensor

from d3data.distill.experts import Experts
from d3data.distill.recipe import SoftLabels
from d3data.sources.base import Source
from d3data.utils import rng

CHUNK = 256  # images at a time


@torch.no_grad()
def relabel(source: Source, teachers: Experts, config: SoftLabels, *, seed: int) -> Tensor:
    """The probabilities (N, K) of each item, averaged over teachers and draws.

        label_i = mean over teachers f and draws x of item i of softmax(f(x) / temperature)

    Without draws x is the image of the item's mean.
    """
    networks = [teachers.teacher(index, config.epoch) for index in range(len(teachers))]
    labels = []
    for number, first in enumerate(range(0, len(source.classes), CHUNK)):
        items = torch.arange(first, min(first + CHUNK, len(source.classes)))
        total = torch.zeros((), device=teachers.device)
        for draw in range(max(1, config.draws)):
            fresh = rng.generator(seed, "labels", number, draw) if config.draws else None
            images = source.images(items, fresh)
            for network in networks:
                total = total + (network(images) / config.temperature).softmax(1)
        labels.append(total / (max(1, config.draws) * len(networks)))
    return torch.cat(labels).cpu()
