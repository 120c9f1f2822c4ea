"""A distilled set as a PyTorch data set: finite in length, fresh in every epoch.

Legend: B draws, K classes, D draws per class, N items, C H W an image.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from d3data.artifact import Artifact
from d3data.drawing import Drawer
from d3data.epochs import Requests, require_epoch
from d3data.errors import D3DataError, nearest
from d3data.ledger import Ledger
from d3data.presentation import Output, Presentation, RealTransform, to_uint8
from d3data.sources.specs import Image

Index = int | tuple[int, int]


class Normalisation(NamedTuple):
    """value = (pixel / 255 - mean) / std, for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class DistilledDataset(Dataset[Any]):
    """Draws of a distilled set, made when asked for; `len` is the K D draws of an epoch.

    Draw i is of class i mod K. It is fresh every epoch: the n-th request for an index is that of
    epoch n, counted in memory that the workers of any loader share. Where epochs are counted
    outside (several ranks, resume), `set_epoch` or an `EpochSampler` takes over. `draw(epoch,
    index)` is the pure function behind it; same seed, same images, whoever asks.

    Args:
        artifact: what `d3data.artifact.read` returned.
        seed: 0 <= seed < 2^64, of all noise.
        draws_per_class: D; the artifact's unless given.
        transform: applied to each image.
        target_transform: applied to each label.
        output: what an image is: "image", uint8 `tv_tensors.Image`; "float", the same as float32
            from 0 to 1; "normalised", a float32 tensor of normalised values, unclipped.
        soft_labels: give the (K,) float32 label of an item, where the artifact has them, instead
            of its class.
        as_dict: samples are {"image", "label", "item", "epoch", "draw"} instead of pairs.

    Raises:
        ArtifactError: a part of the artifact has a fault.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        seed: int = 0,
        draws_per_class: int | None = None,
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        output: Output = "image",
        soft_labels: bool = True,
        as_dict: bool = False,
    ) -> None:
        content = artifact.manifest.content
        draws = content.sampling.draws_per_class if draws_per_class is None else draws_per_class
        if not 0 <= seed < 1 << 64:
            raise D3DataError(f"seed {seed}: seeds are whole numbers from 0 to 2^64 - 1")
        if draws < 1:
            raise D3DataError(f"draws_per_class is {draws}: an epoch needs at least 1")
        self.artifact, self.seed, self.draws_per_class = artifact, seed, draws
        self.transform, self.target_transform, self.as_dict = transform, target_transform, as_dict
        self._present = Presentation(output, content.image)
        self._drawer = Drawer(content, artifact.sources(), seed=seed, draws_per_class=draws)
        self._elsewhere: dict[torch.device, Drawer] = {}
        self._soft = self._drawer.soft_labels() if soft_labels else None
        self._requests = Requests(len(self))

    def __len__(self) -> int:
        return len(self._drawer)

    def __getitem__(self, index: Index) -> Any:
        """The sample of an index, of its next epoch; or that of (epoch, index)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[Index]) -> list[Any]:
        """Many samples, decoded together; PyTorch's loaders ask for whole batches so."""
        told = [index if isinstance(index, tuple) else (None, index) for index in indices]
        draws = [self._checked(index) for _, index in told]
        counted = iter(
            self._requests.epochs(
                [draw for (epoch, _), draw in zip(told, draws, strict=True) if epoch is None]
            )
        )
        epochs = [next(counted) if epoch is None else epoch for epoch, _ in told]
        return self._samples(epochs, draws)

    @property
    def image(self) -> Image:
        """Channels and size of every image, and the mean and std of its normalisation."""
        return self.artifact.manifest.content.image

    def draw(self, epoch: int, index: int) -> Any:
        """The sample of an index in an epoch: a pure function, which counts nothing."""
        return self._samples([epoch], [self._checked(index)])[0]

    def set_epoch(self, epoch: int) -> None:
        """From now on every request is of `epoch`, in every worker, until the next call."""
        self._requests.set_epoch(epoch)

    def batch(
        self, epoch: int, indices: ArrayLike, *, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor]:
        """Draws of one epoch as networks are trained on them; counts nothing, transforms nothing.

        Args:
            epoch: 0 <= epoch < 2^32.
            indices: (B,), each 0 <= index < K D.
            device: where to decode and return them.

        Returns:
            (B, C, H, W) float32 normalised values, unclipped, and labels: (B,) int64 classes, or
            (B, K) float32 where labels are soft.
        """
        require_epoch(epoch)
        draws = np.array(
            [self._checked(index) for index in np.asarray(indices).tolist()], np.int64
        )
        images = self._on(torch.device(device)).images(epoch, draws)
        return images, self._labels(np.full(len(draws), epoch), draws).to(images.device)

    def sample(
        self, n: int = 1, *, classes: Sequence[int | str] | None = None, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The first `n` draws of some classes, class after class, under a seed of their own.

        Returns:
            uint8 (B, C, H, W) and (B,) int64 classes, where B is n for each class.
        """
        ids = range(len(self.classes)) if classes is None else [self._class(c) for c in classes]
        turns, of = np.tile(np.arange(n), len(ids)), np.repeat(np.array(ids, np.int64), n)
        epochs, turns = np.divmod(turns, self.draws_per_class)
        drawer = Drawer(
            self.artifact.manifest.content,
            self._drawer.sources,
            seed=seed,
            draws_per_class=self.draws_per_class,
        )
        images = drawer.images(epochs, turns * len(self.classes) + of)
        return to_uint8(images, drawer.image), torch.from_numpy(of)

    def mean_images(self) -> tuple[Tensor, Tensor]:
        """The image without noise of every item: uint8 (N, C, H, W), and (N,) int64 classes."""
        images = to_uint8(self._drawer.means(), self._drawer.image)
        return images, torch.from_numpy(self._drawer.item_classes)

    def materialize(self, draws_per_class: int | None = None) -> TensorDataset:
        """A finite copy: the first draws, epoch 0 before epoch 1, as uint8 images and labels."""
        count = draws_per_class or self.draws_per_class
        epochs, draws = np.divmod(np.arange(count * len(self.classes)), len(self))
        images = to_uint8(self._drawer.images(epochs, draws), self._drawer.image)
        return TensorDataset(images, self._labels(epochs, draws))

    @property
    def classes(self) -> list[str]:
        """Class names, in order of class id."""
        return list(self.artifact.manifest.content.classes)

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class ids by name."""
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def targets(self) -> list[int]:
        """The class of every index."""
        return list(range(len(self.classes))) * self.draws_per_class

    @property
    def normalization(self) -> Normalisation:
        """Mean and standard deviation of the pixel values, from 0 to 1, of each channel."""
        return Normalisation(self._drawer.image.mean, self._drawer.image.std)

    @property
    def ledger(self) -> Ledger:
        """What every byte is spent on."""
        return self.artifact.ledger

    @property
    def version(self) -> str:
        """The version of the content, X.Y.Z."""
        return self.artifact.manifest.about.version

    def real_transform(self) -> RealTransform:
        """Brings real images to the shape, type and range of this set's own."""
        return RealTransform(self.artifact.manifest.content.preprocessing, self._present)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_elsewhere": {}}

    def __repr__(self) -> str:
        page, spent = self.artifact.manifest, self.ledger
        made, image = page.about.provenance, page.content.image
        colour = "grey" if image.channels == 1 else "RGB"
        items = len(self._drawer.item_classes)
        kind = page.content.source.kind
        return "\n".join(
            (
                f"DistilledDataset {page.about.name} {page.about.version}",
                f"    classes  {len(self.classes)}, {image.size}x{image.size} {colour}, "
                f"{page.content.labels.kind} labels",
                f"    epoch    {len(self)} draws from {items} items ({kind}), seed {self.seed}",
                f"    bytes    {spent.content_bytes:,}: {spent.ipc_bytes:.3g} images per class in "
                f"bytes, {spent.ipc_floats:.3g} in values",
                f"    made     {made.date} from {made.task} by {page.about.method.name} "
                f"({page.about.method.reference})",
                f"    licence  {made.licence} ({made.source})",
                f"    content  {page.content_sha256}",
            )
        )

    def _samples(self, epochs: Sequence[int], draws: Sequence[int]) -> list[Any]:
        for epoch in epochs:
            require_epoch(epoch)
        when, which = np.array(epochs, np.int64), np.array(draws, np.int64)
        images = self._present.batch(self._drawer.images(when, which))
        labels = self._labels(when, which)
        items = self._drawer.items(when, which).tolist()
        return [
            self._sample(*fields)
            for fields in zip(images, labels, items, epochs, draws, strict=True)
        ]

    def _sample(self, image: Tensor, label: Tensor, item: int, epoch: int, draw: int) -> Any:
        shown = self._present.one(image)
        target = int(label) if self._soft is None else label
        shown = self.transform(shown) if self.transform else shown
        target = self.target_transform(target) if self.target_transform else target
        if not self.as_dict:
            return shown, target
        return {"image": shown, "label": target, "item": item, "epoch": epoch, "draw": draw}

    def _labels(self, epochs: ArrayLike, draws: ArrayLike) -> Tensor:
        if self._soft is None:
            return torch.from_numpy(np.asarray(draws) % len(self.classes))
        return self._soft[torch.from_numpy(self._drawer.items(epochs, draws))]

    def _on(self, device: torch.device) -> Drawer:
        if device.type == "cpu":
            return self._drawer
        if device not in self._elsewhere:
            self._elsewhere[device] = self._drawer.to(device)
        return self._elsewhere[device]

    def _checked(self, index: int) -> int:
        """The index counted from 0, as sequences do: -1 is the last."""
        return range(len(self))[operator.index(index)]

    def _class(self, named: int | str) -> int:
        if isinstance(named, str) and named not in self.class_to_idx:
            raise D3DataError(f"no class is called {named!r}: {nearest(named, self.classes)}")
        return (
            self.class_to_idx[named] if isinstance(named, str) else range(len(self.classes))[named]
        )
