"""Several ranks: no image twice, none missing, and a warning where ranks count epochs."""

from pathlib import Path

import made
import ranks

LENGTH = 30  # five classes of six draws, which two ranks share equally


def test_ranks_share_every_epoch_or_are_warned_once(tmp_path: Path) -> None:
    made.write(tmp_path / "toys")
    given = [("sampler", 0, None), ("sampler", 2, "fork"), ("set_epoch", 0, None)]
    counted = [(0, None), (2, "fork"), (1, "spawn")]
    (one, one_warned), (other, other_warned) = ranks.run(ranks.both, tmp_path, given, counted)
    for mine, others in zip(one, other, strict=True):
        for epoch in range(ranks.EPOCHS):
            assert len(mine[epoch]) == len(others[epoch]) == LENGTH // 2
            assert sorted(mine[epoch] + others[epoch]) == [[epoch, n] for n in range(LENGTH)]
        orders = [{draw for _, draw in epoch} for epoch in mine]
        assert orders[0] != orders[1] != orders[2]
    for lines in (*one_warned, *other_warned):
        (line,) = lines
        assert "each of 2 ranks counts the epochs of its draws by itself" in line
        assert "`sampler=d3data.EpochSampler(data)`" in line
