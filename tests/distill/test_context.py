import torch

import toys
from d3data.distill.context import Workbench
from d3data.distill.engine import distill
from d3data.utils import rng


class Companion:
    """An objective that trains a network beside the source: what `keep` is for."""

    experts = None

    def losses(self, source, bench):
        with rng.seeded(0, "companion"):
            network = bench.keep("network", lambda: toys.NETWORK.build(bench.task, 0))
        optimizer = bench.keep("adam", lambda: torch.optim.Adam(network.parameters(), lr=0.01))
        for step in range(bench.start, bench.steps):
            images, labels = bench.task.train.batch(16, rng=bench.rng("real", step))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images), labels).backward()
            optimizer.step()
            items = torch.arange(len(source.classes))
            logits = network(source.draw(items, bench.rng("draws", step)))
            yield torch.nn.functional.cross_entropy(logits, source.classes)


def finish(source, **more):
    bench = toys.bench(None, **more)
    optimizers = toys.optimizers(source, "gaussian")
    return bench, optimizers


def test_what_is_kept_survives_a_restart_at_any_step():
    whole = toys.source("gaussian")
    bench, optimizers = finish(whole, steps=5)
    distill(whole, Companion(), bench, optimizers)
    for stop in range(1, 5):
        source = toys.source("gaussian")
        bench, optimizers = finish(source, steps=stop)
        distill(source, Companion(), bench, optimizers)
        kept = {name: value.state_dict() for name, value in bench.kept.items()}
        rest, renewed = finish(source, steps=5, start=stop, restored=kept)
        for optimizer, before in zip(renewed, optimizers, strict=True):
            optimizer.load_state_dict(before.state_dict())
        distill(source, Companion(), rest, renewed)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, source.state_dict()[name]), (stop, name)


def test_children_that_take_turns_count_their_own_steps():
    for start in range(7):
        bench = Workbench(toys.task(), seed=0, steps=7, start=start)
        children = [bench.child(turn, turn=turn, of=3) for turn in range(3)]
        for turn, child in enumerate(children):
            mine = [step // 3 for step in range(start, 7) if step % 3 == turn]
            assert mine == list(range(child.start, child.steps))


def test_streams_steps_and_children_draw_different_numbers():
    bench = Workbench(toys.task(), seed=0, steps=1)
    generators = [
        bench.rng("a", 0),
        bench.rng("a", 1),
        bench.rng("b", 0),
        bench.child(0).rng("a", 0),
        Workbench(toys.task(), seed=1, steps=1).rng("a", 0),
    ]
    drawn = {tuple(torch.rand(3, generator=generator).tolist()) for generator in generators}
    assert len(drawn) == len(generators)
    again = Workbench(toys.task(), seed=0, steps=9, start=4)
    assert torch.equal(
        torch.rand(3, generator=bench.rng("a", 0)), torch.rand(3, generator=again.rng("a", 0))
    )
