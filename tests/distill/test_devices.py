"""The same losses on an accelerator as on the CPU, up to the rounding of float32."""

import pytest
import torch

import toys
from d3data.distill.experts import Experts

ACCELERATORS = [
    pytest.param(
        kind,
        marks=pytest.mark.skipif(not there(), reason=f"this machine has no {kind} device"),
    )
    for kind, there in (
        ("cuda", torch.cuda.is_available),
        ("mps", torch.backends.mps.is_available),
    )
]
TOLERANCE = 1e-2  # relative, after three steps


def losses_on(device, objective, folder):
    recorded = toys.experts(folder)
    experts = Experts(toys.PLAN, toys.task(), recorded.paths, device=device)
    source = toys.source("gaussian-residual").to(device)
    losses: list[float] = []
    toys.distill(
        source,
        toys.OBJECTIVES[objective],
        toys.context(experts, steps=3, device=device),
        toys.optimizers(source, "gaussian-residual"),
        watch=lambda step, loss: losses.append(loss),
    )
    return losses


@pytest.mark.parametrize("kind", ACCELERATORS)
@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_losses_are_those_of_the_cpu(kind, objective, tmp_path):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    expected = losses_on(torch.device("cpu"), objective, tmp_path)
    assert losses_on(torch.device(kind), objective, tmp_path) == pytest.approx(
        expected, rel=TOLERANCE
    )
