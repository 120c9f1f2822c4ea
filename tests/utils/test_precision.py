"""Full precision inside, everything as it was outside, whichever switches a program uses."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from d3data.utils.precision import full_precision

BACKENDS: Any = torch.backends
NEWER = [BACKENDS, BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn]
NEWER += [BACKENDS.mkldnn.matmul, BACKENDS.mkldnn.conv]
PROGRAMS: dict[str, Callable[[], None]] = {
    "leaves all alone": lambda: None,
    "older, for matmul": lambda: torch.set_float32_matmul_precision("high"),
    "older, for cudnn": lambda: setattr(BACKENDS.cudnn, "allow_tf32", False),
    "newer, for all": lambda: setattr(BACKENDS, "fp32_precision", "tf32"),
    "newer, for matmul": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "newer, for conv": lambda: setattr(BACKENDS.mkldnn.conv, "fp32_precision", "bf16"),
}


def state() -> list[str]:
    return [switch.fp32_precision for switch in NEWER]


def older() -> list[object]:
    """What the older switches say, or that they do not say anything."""
    found: list[object] = []
    for read in (torch.get_float32_matmul_precision, lambda: BACKENDS.cudnn.allow_tf32):
        try:
            found.append(read())
        except RuntimeError:
            found.append("mixed")
    return found


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before, matmul, cudnn = state(), *older()
    yield
    torch.set_float32_matmul_precision(str(matmul))
    BACKENDS.cudnn.allow_tf32 = cudnn
    for switch, value in zip(NEWER, before, strict=True):
        switch.fp32_precision = value


@pytest.mark.parametrize("program", PROGRAMS)
def test_everything_is_ieee_inside_and_as_it_was_after(program: str) -> None:
    PROGRAMS[program]()
    before = state(), older()
    with full_precision(torch.device("cpu")):
        assert set(state()[1:]) == {"ieee"}
        assert older() == ["highest", False]
    assert (state(), older()) == before


def test_autocast_ends_at_the_block_and_a_failure_inside_puts_all_back() -> None:
    one, before = torch.ones(2, 2), (state(), older())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with contextlib.suppress(ZeroDivisionError), full_precision(torch.device("cpu")):
            assert (one @ one).dtype == torch.float32
            _ = 1 / 0
        assert (one @ one).dtype == torch.bfloat16
    assert (state(), older()) == before


def test_threads_that_draw_at_the_same_time_leave_the_switches_as_they_were() -> None:
    torch.set_float32_matmul_precision("high")
    before, wrong = (state(), older()), []

    def draw(pauses: list[float]) -> None:
        for pause in pauses:
            with full_precision(torch.device("cpu")):
                time.sleep(pause)  # lets the other thread in or out
                if older() != ["highest", False]:
                    wrong.append(older())

    pauses = [[1e-5] * 299 + [0.05], [1e-4] * 299 + [0.1]]
    threads = [threading.Thread(target=draw, args=(each,)) for each in pauses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert (state(), older()) == before


def test_nothing_is_touched_where_nothing_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_float32_matmul_precision("highest")
    BACKENDS.cudnn.allow_tf32 = False
    for switch in NEWER[1:]:
        switch.fp32_precision = "ieee"
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: pytest.fail("touched"))
    with full_precision(torch.device("cpu")):
        BACKENDS.cuda.matmul.fp32_precision = "tf32"
    assert BACKENDS.cuda.matmul.fp32_precision == "tf32"
    monkeypatch.undo()
