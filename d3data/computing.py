"""How networks compute: as they are written or compiled, in single precision or half of it."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch.utils._pytree import tree_map_only

from d3data.errors import TrainingError
from d3data.frozen import Frozen

KINDS = 256  # of networks, shapes and modes that a process compiles; others run as written


class Compute(Frozen):
    """How the passes through networks are computed.

    Attributes:
        precision: of activations, by torch.autocast; parameters and losses stay float32.
        compile: let torch.compile fuse their operations; it takes some seconds once, and a C++
            compiler where the device is a CPU. Sums are added in another order.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False

    def __call__(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """What a module-level `function` returns, in float32; the last input is a tensor.

        Networks are among the `inputs`, so that one compilation serves all that are alike.

        Raises:
            TrainingError: it cannot be compiled here.
        """
        run = _compiled(function) if self.compile else function
        if self.precision == "float32":
            return run(*inputs)
        with torch.autocast(inputs[-1].device.type, torch.bfloat16):
            made = run(*inputs)
        return tree_map_only(torch.Tensor, torch.Tensor.float, made)


AS_WRITTEN = Compute()


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    made = _compilation(function)

    def call(*inputs: Any) -> Any:
        try:
            with warnings.catch_warnings(), torch._dynamo.config.patch(recompile_limit=KINDS):
                warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")  # of its own
                return made(*inputs)
        except torch._dynamo.exc.TorchDynamoException as failure:
            reason = str(failure).splitlines()[0]
            raise TrainingError(
                f"torch.compile fails here ({reason}): install a C++ compiler, "
                "or leave compile out"
            ) from failure

    return call


@functools.cache
def _compilation(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, dynamic=False)
