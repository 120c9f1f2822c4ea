"""Several ranks: no image twice, none missing, and a word to those who do not tell epochs."""

from pathlib import Path

import made
import ranks

LENGTH = 30  # five classes of six draws, which two ranks share equally


def test_ranks_share_every_epoch(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    cases = [("sampler", 0, None), ("sampler", 2, "fork"), ("set_epoch", 1, "spawn")]
    for one, other in zip(*ranks.run(ranks.draws, tmp_path, cases), strict=True):
        for epoch in range(ranks.EPOCHS):
            assert len(one[epoch]) == len(other[epoch]) == LENGTH // 2
            assert sorted(one[epoch] + other[epoch]) == [[epoch, draw] for draw in range(LENGTH)]
        dealt = [{draw for _, draw in epoch} for epoch in one]
        assert dealt[0] != dealt[1] != dealt[2]  # anew each time


def test_ranks_that_tell_no_epochs_are_warned_once(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    cases = [(0, None), (2, "fork"), (1, "spawn"), (1, "forkserver")]
    for rank in ranks.run(ranks.warned, tmp_path, cases):
        assert len(rank) == len(cases)
        for (line,) in rank:
            assert "each of 2 ranks counts the epochs of its draws for itself" in line
            assert "`sampler=d3data.EpochSampler(data)`" in line
