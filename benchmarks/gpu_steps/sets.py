"""Finished sets: evaluated and audited as on the CPU, and loaded."""

import time
from collections.abc import Iterator
from itertools import islice
from math import sqrt
from typing import Any

import torch
from torch.utils.data import DataLoader

import d3data
from d3data.data.device_loader import DecodingLoader
from d3data.evaluation import audit, evaluate
from d3data.evaluation.protocols import Protocol, get_protocol
from d3data.evaluation.record import Row
from d3data.utils import rng

from .bench import Bench, Check

NAME = "digits-ipc4"
DATE = "2026-01-01"
WITHIN = 0.003  # of accuracy, beside twice the standard error of the difference
EXACT = 1 / 255
BATCHES = (256, 4096)
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"autocast": torch.bfloat16},
    "compiled": {"compile": True},
    "bfloat16, compiled": {"autocast": torch.bfloat16, "compile": True},
}


def quick(bench: Bench, name: str = "quick") -> Protocol:
    """A protocol that ships; on a pretended card a few steps of it, under a name of their own."""
    return get_protocol(name) if bench.real else get_protocol(name).model_copy(update=SHORT)


SHORT = {"name": "short", "epochs": None, "steps": 2, "batch": 16, "learning_rates": (0.03,)}


def evaluated(bench: Bench) -> Iterator[Check]:
    """digits-ipc4, its copies and D3's protocol."""
    seeds = bench.pick(range(5), [0])
    options: dict[str, Any] = {"seeds": seeds, "baselines": "none", "date": DATE, "resume": False}
    protocol = quick(bench)
    expected = evaluate(NAME, protocol=protocol, **options).rows[0]
    began = time.perf_counter()
    found = evaluate(NAME, protocol=protocol, device=bench.device.type, **options).rows[0]
    seconds = (time.perf_counter() - began) / len(seeds)
    most = WITHIN + 2 * sqrt(variance(expected) + variance(found))
    away = abs(found.mean - expected.mean)
    yield Check("accuracy away from the CPU's", f"<= {most:.4f}", round(away, 4), away <= most)
    yield Check("accuracy, and the CPU's", "", [found.mean, expected.mean])
    yield Check("seconds a network", "", round(seconds, 2))
    d3 = quick(bench, "d3")
    report = evaluate(NAME, protocol=d3, device=bench.device.type, **options | {"seeds": [0]})
    yield Check("protocol d3", "no crash", report.rows[0].mean, True)
    how = {"protocol": protocol, "date": DATE, "draws": bench.pick(64, 2)}
    suspects = [
        [space.suspects for space in audit(NAME, device=device, **how).spaces]
        for device in ("cpu", bench.device.type)
    ]
    yield Check("suspects of the audit", str(suspects[0]), suspects[1], suspects[0] == suspects[1])


def variance(row: Row) -> float:
    """Of the mean of its networks."""
    return (row.std or 0.0) ** 2 / len(row.trials)


def loaded(bench: Bench) -> Iterator[Check]:
    """Images on the device beside those of the CPU, how many a second, and its generator."""
    device, plain = bench.device.type, d3data.load(NAME, output="float")
    if bench.real:  # of a subclass of tensors, which a pretended card cannot put on it
        image = d3data.load(NAME, output="float", device=device)[0][0]
        yield from near("load(device)[0]", image, plain[0][0])
        batch, _ = next(iter(DataLoader(d3data.load(NAME, device=device), batch_size=64)))
        yield Check("a DataLoader of it", "64 images", len(batch), len(batch) == 64)
    for size in bench.pick(BATCHES, (40,)):
        expected, _ = next(iter(decoding(size, "cpu")))
        for way, options in bench.pick(WAYS, {"float32": {}}).items():
            batches = endless(decoding(size, device, **options))
            images, _ = next(batches)
            yield from near(f"{way}, batches of {size}", images, expected, way == "float32")
            yield Check(f"{way}, batches of {size}: images a second", "", rate(batches, bench))
    before = state(bench)
    rng_of_networks(bench)
    same = torch.equal(state(bench), before)
    yield Check("the device's own generator", "where it was", "there" if same else "moved", same)


def near(
    what: str, images: torch.Tensor, expected: torch.Tensor, exact: bool = True
) -> Iterator[Check]:
    """Whether values from 0 to 1 are those of the CPU; only float32 promises it."""
    away = (images.cpu() - expected).abs().max().item()
    yield Check(f"{what}: away from the CPU's", f"<= {EXACT:.4f}" if exact else "", away,
                away <= EXACT if exact else None)  # fmt: skip


def decoding(size: int, device: str, **options: Any) -> DecodingLoader:
    """The same images from its first epoch on."""
    data = d3data.load(NAME, output="float", draws_per_class=size)
    return DecodingLoader(data, size, device=device, shuffle=False, **options)


def endless(loader: DecodingLoader) -> Iterator[Any]:
    while True:
        yield from loader


def rate(batches: Iterator[Any], bench: Bench) -> float:
    """Images a second."""
    bench.card.wait()
    began, count = time.perf_counter(), bench.pick(20, 2)
    seen = sum(len(images) for images, _ in islice(batches, count))
    bench.card.wait()
    return round(seen / (time.perf_counter() - began))


def state(bench: Bench) -> torch.Tensor:
    return torch.get_device_module(bench.device).get_rng_state()


def rng_of_networks(bench: Bench) -> None:
    """What has random numbers of its own: a network, and the layers of a trial."""
    d3data.nets.build(get_protocol("quick").network, channels=1, size=8, classes=10, seed=1)
    with rng.seeded(1, "layers", device=bench.device):
        torch.rand(4, device=bench.device)
