"""Reports of evaluations that nobody made."""

import torch

from d3data.evaluation.baselines import Photographs, RowData
from d3data.evaluation.protocols import get_protocol
from d3data.evaluation.record import Row, Trial
from d3data.evaluation.report import Report
from d3data.nets import NetworkSpec

FIELD_1 = get_protocol("standard").model_copy(
    update={"name": "field", "network": NetworkSpec(width=128)}
)  # version 1 of `field`


def trial(accuracy=0.5, seed=0, **changes):
    """One network."""
    usual = {
        "seed": seed,
        "learning_rate": 0.03,
        "accuracy": accuracy,
        "per_class": (accuracy, None),
        "confusion": ((8, 2), (0, 0)),
        "loss": 0.1,
        "steps": 600,
        "images": 76_800,
        "flops": 10**12,
        "memory": None,
        "seconds": 1.5,
        "curve": (),
    }
    return Trial(**usual | changes)


def row(name, *accuracies, network="convnet-w32", labels="hard", values=1280, **changes):
    """Networks on two images."""
    data = Photographs(torch.zeros(2, 1, 8, 8), torch.arange(2))
    each = 2 if name == "random" else None
    of = RowData(data, each, values, values and 4 * values)
    trials = [trial(accuracy, seed, **changes) for seed, accuracy in enumerate(accuracies)]
    return Row.of(name, trials, network=network, labels=labels, of=of)


def report(name, *rows, **changes):
    """A report under protocol `quick`."""
    usual = {
        "data": name,
        "content_sha256": None,
        "task": "digits",
        "fingerprint": "1" * 64,
        "split": "test",
        "tests": 10_000,
        "classes": ("0", "1"),
        "protocol": get_protocol("quick"),
        "rows": rows,
        "device": "cpu",
        "threads": 1,
        "versions": {"torch": "2"},
        "date": "2026-01-01",
    }
    return Report(**usual | changes)
