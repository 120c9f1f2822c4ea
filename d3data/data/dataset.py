"""A distilled set as a PyTorch data set: finite in length, fresh in every epoch.

Legend: B draws, K classes, D draws per class, N items, C H W an image.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, Self, Unpack

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from typing_extensions import TypeVar

from d3data.artifact import citations, summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import Drawer, Latent
from d3data.artifact.ledger import Ledger
from d3data.artifact.manifest import MOST_DRAWS
from d3data.data.epochs import Index, Requests
from d3data.data.materialize import drawn, pixels, require_main_process
from d3data.data.options import SampleArguments, SampleOptions
from d3data.data.outputs import OutputFormat, RealTransform
from d3data.errors import D3DataError, nearest
from d3data.images.spec import Image
from d3data.utils.checks import position, whole
from d3data.utils.device import as_device, to_device


class Normalization(NamedTuple):
    """value = (pixel / 255 - mean) / std, for each channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


# what a sample is, as `d3data.load` knows it from its arguments
SampleT = TypeVar("SampleT", default=tuple[Tensor, int | Tensor], covariant=True)


class DistilledDataset(Dataset[SampleT]):
    """Draws of a distilled set, made on request; `len` is the K D draws of an epoch.

    Draw i is of class i mod K. It is fresh every epoch: the n-th request for an index is that of
    epoch n, counted in memory that the workers of any loader share. If epochs are counted
    elsewhere (several ranks, resume), use `set_epoch` or an `EpochSampler`. `draw(epoch, index)`
    is the pure function behind it: the same seed gives the same images in any process.

    Args:
        artifact: what `d3data.artifact.read` returned.
        options: what samples look like.
        revision: the commit that the artifact was fetched from, if any.
        **arguments: the fields of `SampleOptions` by name, instead of `options` or to change it.

    Raises:
        ArtifactError: a part of the artifact has a fault.
        DeviceError: this machine does not have the device.
    """

    artifact: Artifact
    revision: str | None
    classes: list[str]
    seed: int
    draws_per_class: int
    transform: Callable[[Any], Any] | None
    target_transform: Callable[[Any], Any] | None
    as_dict: bool
    device: torch.device
    output_format: OutputFormat
    drawer: Drawer
    soft_labels: bool

    def __init__(
        self,
        artifact: Artifact,
        options: SampleOptions | None = None,
        *,
        revision: str | None = None,
        **arguments: Unpack[SampleArguments],
    ) -> None:
        options = replace(options, **arguments) if options else SampleOptions(**arguments)
        content = artifact.manifest.content
        draws = options.draws_per_class
        draws = content.sampling.draws_per_class if draws is None else draws
        most = MOST_DRAWS // len(content.classes)
        self.artifact, self.revision = artifact, revision
        self.classes = list(content.classes)
        self.seed = options.seed
        self.draws_per_class = whole(draws, "draws_per_class", least=1, most=most)
        self.transform, self.target_transform = options.transform, options.target_transform
        self.as_dict, self.device = options.as_dict, as_device(str(options.device))
        self.output_format = OutputFormat(options.output, content.image)
        self.drawer = Drawer(
            content, artifact.sources(), seed=self.seed, draws_per_class=self.draws_per_class
        )
        self._on_devices = {torch.device("cpu"): self.drawer}
        self._soft_labels = self.drawer.soft_labels() if options.soft_labels else None
        if options.soft_labels is True and self._soft_labels is None:
            raise D3DataError(
                f"{artifact.manifest.about.name} has no soft labels: leave soft_labels=True out"
            )
        self.soft_labels = self._soft_labels is not None
        self.learned_labels = self.soft_labels and content.labels.kind == "targets"
        self._requests = Requests(len(self))

    def __len__(self) -> int:
        return len(self.drawer)

    def __getitem__(self, index: Index) -> SampleT:
        """The sample of an index, of its next epoch; or that of (epoch, index)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[Index]) -> list[SampleT]:
        """Many samples, decoded together; PyTorch's loaders request whole batches this way."""
        return self._samples(self.drawer.latents(*self._requests.resolve(indices)))

    @property
    def image(self) -> Image:
        """Channels and size of every image, and the mean and std of its normalization."""
        return self.artifact.manifest.content.image

    def draw(self, epoch: int, index: int) -> SampleT:
        """The sample of an index in an epoch: a pure function, which counts nothing."""
        return self[epoch, index]

    def set_epoch(self, epoch: int | None) -> None:
        """Every request from now on is of `epoch`, in every worker; None resumes counting."""
        self._requests.set_epoch(epoch)

    def latents(self, indices: Sequence[Index]) -> tuple[Latent, Tensor]:
        """A batch before it is decoded, as one `Latent`, and its labels; made on the CPU.

        Requests are counted as those for images are. Labels are (B,) int64 classes, or (B, K)
        float32 where they are soft.
        """
        latent = self.drawer.latents(*self._requests.resolve(indices))
        return latent, self._labels(latent.draw, latent.item)

    def decode(
        self, latent: Latent | Mapping[str, Tensor], *, device: str | torch.device | None = None
    ) -> Tensor:
        """The images of a batch of latents, (B, C, H, W), or of one: float32, unclipped.

        Args:
            latent: a batch as `latents` or a loader of them gives it, or a sample; dictionaries
                where the set has `as_dict`.
            device: where to decode and return them; the set's own unless given.
        """
        drawer = self.on(self.device if device is None else as_device(str(device)))
        latent = Latent.of(latent)
        if latent.item.ndim:
            return drawer.decode(latent)
        return drawer.decode(Latent(*(field[None] for field in latent)))[0]

    def on(self, device: torch.device) -> Drawer:
        """The drawer that decodes on `device`, kept for the next call.

        Raises:
            DeviceError: this is a worker of a DataLoader, and the device is not the CPU.
        """
        require_main_process(device)
        if device not in self._on_devices:
            self._on_devices[device] = self.drawer.to(device)
        return self._on_devices[device]

    def batch(
        self, epoch: int, indices: ArrayLike, *, device: str | torch.device | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws of one epoch as networks are trained on them; counts nothing, transforms nothing.

        Args:
            epoch: 0 <= epoch < 2^32.
            indices: (B,), each 0 <= index < K D.
            device: where to decode and return them; the set's own unless given.

        Returns:
            (B, C, H, W) float32 normalised values, unclipped, and labels: (B,) int64 classes, or
            (B, K) float32 where labels are soft.
        """
        pairs = [(epoch, index) for index in np.asarray(indices).tolist()]
        latent, labels = self.latents(pairs)
        images = self.decode(latent, device=device)
        return images, to_device(labels, images.device)

    def sample(
        self, n: int = 1, *, classes: Sequence[int | str] | None = None, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The first `n` draws of some classes, class after class, under a seed of their own.

        Returns:
            uint8 (B, C, H, W) and (B,) int64 classes, where B is n for each class.
        """
        if isinstance(classes, int | str):
            raise D3DataError(f"classes={classes!r}: pass a list, such as [{classes!r}]")
        n, every = whole(n, "n", least=1), range(len(self.classes))
        ids = [*every] if classes is None else [self._class(named) for named in classes]
        drawer, labels = self.on(self.device).seeded(seed), np.repeat(np.array(ids, np.int64), n)
        epochs, turns = np.divmod(np.tile(np.arange(n), len(ids)), self.draws_per_class)
        images, _ = drawn(drawer, epochs, turns * len(self.classes) + labels)
        return images, torch.from_numpy(labels)

    def mean_images(self) -> tuple[Tensor, Tensor]:
        """The image without noise of every item: uint8 (N, C, H, W), and (N,) int64 classes."""
        classes = self.drawer.item_classes
        latent = self.drawer.mean_latents(np.arange(len(classes)))
        return pixels(self.on(self.device), latent, residual=False), torch.tensor(classes)

    def interpolate(self, a: int, b: int, steps: int) -> Tensor:
        """Images along the straight line between the latents of items `a` and `b`, without noise.

        Items are counted as `mean_images` gives them, whose images are the two ends.

        Returns:
            uint8 (steps, C, H, W).

        Raises:
            D3DataError: the items have decoders of their own, or no latents.
        """
        items = range(len(self.drawer.item_classes))
        start, end = position(a, items, "items"), position(b, items, "items")
        latent = self.drawer.line(start, end, whole(steps, "steps", least=1))
        return pixels(self.on(self.device), latent, residual=False)

    def materialize(self, draws_per_class: int | None = None) -> TensorDataset:
        """A finite copy: the first draws of each class, from epoch 0 on.

        Returns:
            uint8 (B, C, H, W) and (B,) int64 classes, or (B, K) float32 where labels are soft.
        """
        count = self.draws_per_class if draws_per_class is None else draws_per_class
        count = whole(count, "draws_per_class")
        epochs, indices = np.divmod(np.arange(count * len(self.classes)), len(self))
        images, items = drawn(self.on(self.device), epochs, indices)
        return TensorDataset(images, self._labels(torch.from_numpy(indices), items))

    def to_hf(self, draws_per_class: int | None = None) -> Any:
        """The images of `materialize` as a `datasets.Dataset` with Image and ClassLabel."""
        from d3data.data.streams import to_hf

        return to_hf(self, draws_per_class)

    def to_iterable(self, epochs: int = 1) -> Any:
        """The first epochs as a `datasets.IterableDataset`, drawn while it is read."""
        from d3data.data.streams import to_iterable

        return to_iterable(self, epochs)

    @cached_property
    def class_to_idx(self) -> dict[str, int]:
        """Class ids by name."""
        return {name: number for number, name in enumerate(self.classes)}

    @cached_property
    def targets(self) -> list[int]:
        """The class of every index."""
        return list(range(len(self.classes))) * self.draws_per_class

    @property
    def features(self) -> Any:
        """The columns of `to_hf`: image, label and, where labels are soft, soft_label."""
        from d3data.images.formats import hub_datasets

        return hub_datasets.features(self.classes, soft=self.soft_labels)

    @property
    def normalization(self) -> Normalization:
        """Mean and standard deviation of the pixel values, from 0 to 1, of each channel."""
        return Normalization(self.image.mean, self.image.std)

    @property
    def ledger(self) -> Ledger:
        """How many bytes each kind of content takes."""
        return self.artifact.ledger

    @property
    def version(self) -> str:
        """The version of the content, X.Y.Z."""
        return self.artifact.manifest.about.version

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of everything that a network is trained on."""
        return self.artifact.manifest.content_sha256

    @property
    def card(self) -> str | None:
        """The text of the artifact's README.md, written by its author; None if there is none."""
        return summary.card(self.artifact)

    def citation(self) -> str:
        """BibTeX entries of the method and of the real images."""
        return citations.bibtex(self.artifact.manifest.about)

    def real_transform(self) -> RealTransform:
        """Brings real images to the shape, type and range of this set's images.

        Raises:
            D3DataError: the set returns latents or whitened values.
        """
        return RealTransform(self.artifact.manifest.content.preprocessing, self.output_format)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "targets"}
        return {**state, "_on_devices": {torch.device("cpu"): self.drawer}}

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__ = {**self.__getstate__(), "_requests": copy.deepcopy(self._requests)}
        return other

    def __repr__(self) -> str:
        items, kind = len(self.drawer.item_classes), self.artifact.manifest.content.source.kind
        epoch = f"{len(self)} draws from {items} items ({kind}), seed {self.seed}"
        return "DistilledDataset " + "\n".join(summary.lines(self.artifact, epoch=epoch))

    def _samples(self, latent: Latent) -> list[Any]:
        labels, soft = self._labels(latent.draw, latent.item), self.soft_labels
        if self.output_format.output == "latent":
            images: Any = map(Latent, *(field.unbind() for field in latent))
        else:
            batch = self.output_format.batch(self.on(self.device).decode(latent))
            images = map(self.output_format.one, batch.unbind())
            labels = labels.to(batch.device) if soft else labels
        targets: Any = labels.unbind() if soft else labels.tolist()
        if self.transform is not None:
            images = map(self.transform, images)
        if self.target_transform is not None:
            targets = map(self.target_transform, targets)
        if not self.as_dict:
            return list(zip(images, targets, strict=True))
        keys = (latent.item.tolist(), latent.epoch.tolist(), latent.draw.tolist())
        return list(map(_record, images, targets, *keys))

    def _labels(self, draws: Tensor, items: Tensor) -> Tensor:
        return draws % len(self.classes) if self._soft_labels is None else self._soft_labels[items]

    def _class(self, named: int | str) -> int:
        if isinstance(named, str) and named not in self.class_to_idx:
            raise D3DataError(f"no class is named {named!r}: {nearest(named, self.classes)}")
        if isinstance(named, str):
            return self.class_to_idx[named]
        return position(named, range(len(self.classes)), "classes")


def _record(image: Any, target: Any, item: int, epoch: int, draw: int) -> dict[str, Any]:
    if isinstance(image, Latent):
        return {**image._asdict(), "label": target}
    return {"image": image, "label": target, "item": item, "epoch": epoch, "draw": draw}
