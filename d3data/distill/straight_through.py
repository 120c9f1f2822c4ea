"""Gradients through rounding.

Bengio, Leonard, Courville 2013, "Estimating or Propagating Gradients Through Stochastic Neurons
for Conditional Computation", arXiv 1308.3432: a rounded value's gradient is that of the value.
"""

from torch import Tensor
from torch.func import functional_call

from d3data.artifact import quantize
from d3data.artifact.quantize import Quantization
from d3data.sources.base import Source


class StraightThrough(Source):
    """A source as it will be when it is stored and read again, with the parameters of `source`.

    An objective sees it in the place of `source`, whose own tensors the optimizers step.
    """

    def __init__(self, source: Source, quantization: Quantization) -> None:
        super().__init__(source.classes, None, source.step_size)
        self.source, self.quantization = source, quantization
        self.labels, self.step_size = source.labels, source.step_size
        self.noise_shape = source.noise_shape

    def images(self, items: Tensor, noise: Tensor | None) -> Tensor:
        """(B,), (B, *noise_shape) -> (B, C, H, W), bit for bit those of the stored source."""
        tensors = {name: self._through(name, t) for name, t in self.source.named_parameters()}
        images: Tensor = functional_call(self.source, tensors, (items, noise))
        return images

    def _through(self, name: str, tensor: Tensor) -> Tensor:
        width = quantize.bits(name, tuple(tensor.shape), self.quantization)
        if width == 32:
            return tensor
        left = quantize.values(tensor.detach(), width, quantize.axis(name, self.quantization))
        return left + (tensor - tensor.detach())
