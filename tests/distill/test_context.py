import torch

import toys
from d3data.distill.context import ObjectiveContext


def test_children_that_take_turns_count_their_own_steps():
    for start in range(7):
        context = ObjectiveContext(toys.task(), seed=0, steps=7, start=start)
        children = [context.child(turn, turn=turn, of=3) for turn in range(3)]
        for turn, child in enumerate(children):
            mine = [step // 3 for step in range(start, 7) if step % 3 == turn]
            assert mine == list(range(child.start, child.steps))


def test_streams_steps_and_children_draw_different_numbers():
    context = ObjectiveContext(toys.task(), seed=0, steps=1)
    generators = [
        context.rng("a", 0),
        context.rng("a", 1),
        context.rng("b", 0),
        context.child(0).rng("a", 0),
        ObjectiveContext(toys.task(), seed=1, steps=1).rng("a", 0),
    ]
    drawn = {tuple(torch.rand(3, generator=generator).tolist()) for generator in generators}
    assert len(drawn) == len(generators)
    again = ObjectiveContext(toys.task(), seed=0, steps=9, start=4)
    assert torch.equal(
        torch.rand(3, generator=context.rng("a", 0)), torch.rand(3, generator=again.rng("a", 0))
    )
