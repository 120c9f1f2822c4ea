"""Gradients through rounding.

Bengio, Leonard, Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons
for Conditional Computation", arXiv 1308.3432: a rounded value's gradient is that of the value.
"""

from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from d3data.artifact import quantize
from d3data.artifact.quantize import Quantization
from d3data.distill.recipe import Recipe
from d3data.nets.compute import AS_WRITTEN, Compute
from d3data.sources.base import Source


class StraightThrough(Source):
    """A source as it will be when it is stored and read again, with the parameters of `source`.

    An objective sees it in the place of `source`, whose own tensors the optimizers step. It
    decodes as `compute` says.
    """

    compute: Compute
    quantization: Quantization
    labels: nn.Parameter | None
    step_size: nn.Parameter
    latent_noise: int
    latent_shape: tuple[int, ...]
    white_noise: int

    def __init__(
        self, source: Source, quantization: Quantization, compute: Compute = AS_WRITTEN
    ) -> None:
        super().__init__(source.classes, None, source.step_size)
        self._steps, self.quantization, self.compute = _Steps(source), quantization, compute
        if compute.compile and compute.decoding == "bfloat16":
            source.compile_decoder()
        self.labels, self.step_size = source.labels, source.step_size
        self.latent_shape, self.latent_noise = source.latent_shape, source.latent_noise
        self.white_noise = source.white_noise

    def latents(self, items: Tensor, noise: Tensor | None) -> Tensor:
        return self._stored("latents", items, noise)

    def decode(self, latents: Tensor, white: Tensor | None = None) -> Tensor:
        return self._stored("decode", latents, white)

    def forward(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """Both steps, bit for bit those of the stored source, rounded once."""
        return self._stored("forward", items, noise)

    @property
    def given_labels(self) -> Tensor | None:
        labels = self.labels
        return None if labels is None else through("labels", labels, self.quantization)

    def _stored(self, step: str, *inputs: Any) -> Tensor:
        tensors = {
            name: through(name.removeprefix("source."), tensor, self.quantization)
            for name, tensor in self._steps.named_parameters()
        }
        with self.compute.casting(self.step_size.device.type):
            result: Tensor = functional_call(self._steps, tensors, (step, *inputs))
        return result.float()


def as_distilled(source: Source, recipe: Recipe, *, rounded: bool) -> Source:
    """What the objective of a recipe sees; if `rounded`, what storing leaves of the source."""
    if not rounded and recipe.compute.decoding == "float32":
        return source
    stored = recipe.quantization if rounded else Quantization()
    return StraightThrough(source, stored, recipe.compute)


def through(name: str, tensor: Tensor, quantization: Quantization) -> Tensor:
    """What is left of the tensor `name` when it is stored and read, with its own gradient."""
    width = quantize.bits(name, tuple(tensor.shape), quantization)
    if width == 32:
        return tensor
    left = quantize.values(tensor.detach(), width, quantize.axis(name, quantization))
    return left + (tensor - tensor.detach())


class _Steps(nn.Module):
    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source

    def forward(self, step: str, *inputs: Any) -> Any:
        return getattr(self.source, step)(*inputs)
