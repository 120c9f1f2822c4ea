"""How networks compute: eager or compiled, in float32 or in bfloat16."""

import functools
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from d3data.errors import DeviceError
from d3data.utils.precision import full_precision, tensor_float
from d3data.utils.schema import Extended

Precision = Literal["float32", "tf32", "bfloat16"]

RECOMPILE_LIMIT = 2**16  # beyond it, torch silently stops compiling


class Compute(Extended):
    """How the passes through networks are computed.

    Attributes:
        precision: of what convolutions and matrix products take: float32; tf32, of convolutions on
            CUDA, which have 10 bits of mantissa then; or bfloat16, by torch.autocast. Parameters
            and losses stay float32.
        compile: use torch.compile; it takes some seconds for each kind of network and batch
            size, and needs a C++ compiler if the device is a CPU. Sums are added in another order.
        decoding: of what the decoder's convolutions take while it is distilled; bfloat16 ones are
            compiled where networks are.
        at_once: draws that a matching loss holds in memory at a time, whose passes are computed
            again for their gradients; all if None.
    """

    precision: Precision = "float32"
    decoding: Literal["float32", "bfloat16"] = "float32"
    compile: bool = False
    at_once: int | None = Field(default=None, ge=1)

    later: ClassVar[frozenset[str]] = frozenset({"at_once", "decoding"})

    def passes(self, kind: str) -> dict[str, Any]:
        """What decides the bits of a pass through a network on a `kind` of device."""
        same = kind == "cpu" and self.precision == "tf32"
        return {"precision": "float32" if same else self.precision, "compile": self.compile}

    @property
    def unrounded(self) -> "Compute":
        """The same without bfloat16, for gradients of gradients."""
        return self.model_copy(update={"precision": "float32"})

    def precisely(self, device: torch.device) -> AbstractContextManager[None]:
        """The block in which passes on `device` have this precision, whatever torch is set to."""
        return tensor_float() if self.precision == "tf32" else full_precision(device)

    def casting(self, device: str) -> AbstractContextManager[None]:
        """The block in which a decoder has its precision."""
        return rounding(device, enabled=self.decoding == "bfloat16")

    def __call__(
        self,
        function: Callable[..., Any],
        network: Callable[..., Any],
        images: Tensor,
        *more: Tensor,
    ) -> Any:
        """What a module-level `function` of a network and tensors returns, in float32.

        One compilation serves all networks that are alike; DeviceError where none can be made.
        """
        run = _compiled(function) if self.compile else function
        if self.precision != "bfloat16":
            return run(network, images, *more)
        with rounding(images.device.type):
            outputs = run(network, images, *more)
        return _float32(outputs)


AS_WRITTEN = Compute()


def rounding(device: str, *, enabled: bool = True) -> AbstractContextManager[None]:
    """The block in which convolutions and matrix products take bfloat16.

    Weights are rounded anew each time: torch keeps what it has rounded until the outermost block
    of autocast ends, and whole trainings run inside one, that of full precision.
    """
    return torch.autocast(device, torch.bfloat16, enabled=enabled, cache_enabled=False)


def _float32(outputs: Any) -> Any:
    """The same tensor, or tensors of a tuple, in float32."""
    return outputs.float() if isinstance(outputs, Tensor) else tuple(map(_float32, outputs))


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor")  # that torch looks at
    warnings.filterwarnings("ignore", "bf16 and fp16 are mixed")  # said of bfloat16 alone

    def call(*inputs: Any) -> Any:
        try:
            return compilation(*inputs)
        except torch._dynamo.exc.TorchDynamoException as failure:
            reason = str(failure).splitlines()[0]
            raise DeviceError(
                f"torch.compile fails here ({reason}): leave compile out, or, where a C++ "
                "compiler is missing, install one"
            ) from failure

    compilation = torch.compile(function, dynamic=False)
    limits = torch._dynamo.config.patch(
        recompile_limit=RECOMPILE_LIMIT,
        accumulated_recompile_limit=RECOMPILE_LIMIT,
        trace_autograd_ops=True,
    )
    limited: Callable[..., Any] = limits(call)
    return limited
