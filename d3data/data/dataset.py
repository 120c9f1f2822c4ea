"""A distilled set as a PyTorch data set: finite in length, fresh in every epoch.

Legend: B draws, K classes, D draws per class, N items, C H W an image.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset, get_worker_info

from d3data.artifact import citations, summary
from d3data.artifact.artifact import Artifact
from d3data.artifact.drawing import Drawer, Latent
from d3data.artifact.ledger import Ledger
from d3data.artifact.manifest import MOST_DRAWS
from d3data.data import materialize as finite
from d3data.data.epochs import Index, Requests
from d3data.data.outputs import Output, Presentation, RealTransform
from d3data.errors import D3DataError, DeviceError, nearest
from d3data.images.spec import Image
from d3data.utils.checks import position, whole
from d3data.utils.device import as_device


class Normalization(NamedTuple):
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
            from 0 to 1; "normalised", a float32 tensor of normalised values, unclipped; "latent",
            a `Latent`, which `decode` makes images of.
        soft_labels: whether a label is the (K,) float32 one of its item, instead of its class;
            "auto" where the artifact has them.
        as_dict: samples are {"image", "label", "item", "epoch", "draw"} instead of pairs; where
            they are latents, the fields of a `Latent` and "label".
        device: where images are decoded, and returned; labels that are classes are numbers.
        revision: the commit that the artifact was fetched from, if any.

    Raises:
        ArtifactError: a part of the artifact has a fault.
        DeviceError: this machine does not have the device.
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
        soft_labels: bool | Literal["auto"] = "auto",
        as_dict: bool = False,
        device: str | torch.device = "cpu",
        revision: str | None = None,
    ) -> None:
        content = artifact.manifest.content
        draws = content.sampling.draws_per_class if draws_per_class is None else draws_per_class
        draws = whole(draws, "draws_per_class", least=1, most=MOST_DRAWS // len(content.classes))
        if not isinstance(soft_labels, bool) and soft_labels != "auto":
            raise D3DataError(f"soft_labels={soft_labels!r}: it is True, False or 'auto'")
        for name, change in (("transform", transform), ("target_transform", target_transform)):
            if change is not None and not callable(change):
                raise D3DataError(f"{name}={change!r}: it is a function, or None")
        if output == "latent" and transform is not None:
            raise D3DataError(
                "output='latent': there is no image yet that a transform could change"
            )
        self.artifact, self.seed, self.draws_per_class = artifact, seed, draws
        self.transform, self.target_transform, self.as_dict = transform, target_transform, as_dict
        self.device, self.revision = as_device(str(device)), revision
        self.present = Presentation(output, content.image)
        self.drawer = Drawer(content, artifact.sources(), seed=seed, draws_per_class=draws)
        self._elsewhere: dict[torch.device, Drawer] = {}
        self._soft = self.drawer.soft_labels() if soft_labels else None
        if soft_labels is True and self._soft is None:
            raise D3DataError(
                f"{artifact.manifest.about.name} has hard labels: soft_labels=True asks for what "
                "it does not have; leave it out"
            )
        self.soft_labels = self._soft is not None
        self._requests = Requests(len(self))

    def __len__(self) -> int:
        return len(self.drawer)

    def __getitem__(self, index: Index) -> Any:
        """The sample of an index, of its next epoch; or that of (epoch, index)."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[Index]) -> list[Any]:
        """Many samples, decoded together; PyTorch's loaders ask for whole batches so."""
        return self._samples(self.drawer.latents(*self._requests.resolve(indices)))

    @property
    def image(self) -> Image:
        """Channels and size of every image, and the mean and std of its normalisation."""
        return self.artifact.manifest.content.image

    def draw(self, epoch: int, index: int) -> Any:
        """The sample of an index in an epoch: a pure function, which counts nothing."""
        return self[epoch, index]

    def set_epoch(self, epoch: int | None) -> None:
        """From now on every request is of `epoch`, in every worker; None goes on counting."""
        self._requests.set_epoch(epoch)

    def latents(self, indices: Sequence[Index]) -> tuple[Latent, Tensor]:
        """The samples of a batch before they are decoded, as one `Latent`, and their labels.

        Requests are counted as those for images are. Labels are (B,) int64 classes, or (B, K)
        float32 where they are soft. It runs on the CPU, in any worker of a loader.
        """
        latent = self.drawer.latents(*self._requests.resolve(indices))
        return latent, self._labels(latent)

    def decode(
        self, latent: Latent | Mapping[str, Tensor], *, device: str | torch.device | None = None
    ) -> Tensor:
        """The images of a batch of latents, (B, C, H, W), or of one: float32, unclipped.

        Args:
            latent: a batch as `latents` or a loader of them gives it, or a sample; dictionaries
                where the set has `as_dict`.
            device: where to decode and return them; the set's own unless given.
        """
        chosen = self.device if device is None else as_device(str(device))
        given = Latent.of(latent)
        if given.item.ndim:
            return self.on(chosen).decode(given)
        return self.on(chosen).decode(Latent(*(field[None] for field in given)))[0]

    def on(self, device: torch.device) -> Drawer:
        """What draws on a device, where the set is not in a worker of a loader."""
        if device.type == "cpu":
            return self.drawer
        if get_worker_info() is not None:
            raise DeviceError(
                f"device {str(device)!r}: a worker of a DataLoader cannot decode on it; "
                "d3data.DecodingLoader(data, batch_size, device) has workers that make latents, "
                "and decodes them in the main process"
            )
        if device not in self._elsewhere:
            self._elsewhere[device] = self.drawer.to(device)
        return self._elsewhere[device]

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
        return images, labels.to(images.device)

    def sample(
        self, n: int = 1, *, classes: Sequence[int | str] | None = None, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """The first `n` draws of some classes, class after class, under a seed of their own.

        Returns:
            uint8 (B, C, H, W) and (B,) int64 classes, where B is n for each class.
        """
        if isinstance(classes, int | str):
            raise D3DataError(f"classes={classes!r}: it is a list, such as [{classes!r}]")
        ids = range(len(self.classes)) if classes is None else [self._class(c) for c in classes]
        drawer = self.on(self.device).seeded(seed)
        return finite.first_of_classes(drawer, list(ids), whole(n, "n", least=1))

    def mean_images(self) -> tuple[Tensor, Tensor]:
        """The image without noise of every item: uint8 (N, C, H, W), and (N,) int64 classes."""
        return finite.means(self.on(self.device))

    def interpolate(self, a: int, b: int, steps: int) -> Tensor:
        """Images along the straight line between the latents of items `a` and `b`, without noise.

        Items are counted as `mean_images` gives them, whose images are the two ends.

        Returns:
            uint8 (steps, C, H, W).

        Raises:
            D3DataError: the items have decoders of their own, or no latents.
        """
        count = range(len(self.drawer.item_classes))
        start, end = position(a, count, "items"), position(b, count, "items")
        return finite.between(self.on(self.device), start, end, whole(steps, "steps", least=1))

    def materialize(self, draws_per_class: int | None = None) -> TensorDataset:
        """A finite copy: the first draws of each class, of epoch 0 and then of the next ones.

        Returns:
            uint8 (B, C, H, W) and (B,) int64 classes, or (B, K) float32 where labels are soft.
        """
        count = self.draws_per_class if draws_per_class is None else draws_per_class
        count = whole(count, "draws_per_class")
        latent = self.drawer.latents(*np.divmod(np.arange(count * len(self.classes)), len(self)))
        return TensorDataset(finite.pixels(self.on(self.device), latent), self._labels(latent))

    def to_hf(self, draws_per_class: int | None = None) -> Any:
        """What `materialize` has, as a `datasets.Dataset` with features Image and ClassLabel."""
        from d3data.data.export import to_hf

        return to_hf(self, draws_per_class)

    def to_iterable(self, epochs: int = 1) -> Any:
        """The draws of the first epochs as a `datasets.IterableDataset`, made as it is read."""
        from d3data.data.export import to_iterable

        return to_iterable(self, epochs)

    @property
    def classes(self) -> list[str]:
        """Class names, in order of class id."""
        return list(self.artifact.manifest.content.classes)

    @property
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
        """What every byte is spent on."""
        return self.artifact.ledger

    @property
    def version(self) -> str:
        """The version of the content, X.Y.Z."""
        return self.artifact.manifest.about.version

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that decides what a network is trained on."""
        return self.artifact.manifest.content_sha256

    @property
    def card(self) -> str | None:
        """The text of the artifact's README.md, somebody's own words; None where it has none."""
        return summary.card(self.artifact)

    def citation(self) -> str:
        """BibTeX entries of the method and of the real images."""
        return citations.bibtex(self.artifact.manifest.about)

    def real_transform(self) -> RealTransform:
        """Brings real images to the shape, type and range of this set's own.

        Raises:
            D3DataError: the set's are latents or whitened values, which real images have none of.
        """
        return RealTransform(self.artifact.manifest.content.preprocessing, self.present)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "targets"}
        return {**kept, "_elsewhere": {}}

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__ = {**self.__getstate__(), "_requests": copy.deepcopy(self._requests)}
        return other

    def __repr__(self) -> str:
        items, kind = len(self.drawer.item_classes), self.artifact.manifest.content.source.kind
        epoch = f"{len(self)} draws from {items} items ({kind}), seed {self.seed}"
        return "DistilledDataset " + "\n".join(summary.lines(self.artifact, epoch=epoch))

    def _samples(self, latent: Latent) -> list[Any]:
        labels, soft = self._labels(latent), self.soft_labels
        if self.present.output == "latent":
            shown: Any = map(Latent, *(field.unbind() for field in latent))
        else:
            images = self.present.batch(self.on(self.device).decode(latent))
            shown = map(self.present.one, images.unbind())
            labels = labels.to(images.device) if soft else labels
        targets: Any = labels.unbind() if soft else labels.tolist()
        if self.transform is not None:
            shown = map(self.transform, shown)
        if self.target_transform is not None:
            targets = map(self.target_transform, targets)
        if not self.as_dict:
            return list(zip(shown, targets, strict=True))
        keys = (latent.item.tolist(), latent.epoch.tolist(), latent.draw.tolist())
        return list(map(_record, shown, targets, *keys))

    def _labels(self, latent: Latent) -> Tensor:
        return latent.draw % len(self.classes) if self._soft is None else self._soft[latent.item]

    def _class(self, named: int | str) -> int:
        if isinstance(named, str) and named not in self.class_to_idx:
            raise D3DataError(f"no class is called {named!r}: {nearest(named, self.classes)}")
        if isinstance(named, str):
            return self.class_to_idx[named]
        return position(named, range(len(self.classes)), "classes")


def _record(shown: Any, target: Any, item: int, epoch: int, draw: int) -> dict[str, Any]:
    if isinstance(shown, Latent):
        return {**shown._asdict(), "label": target}
    return {"image": shown, "label": target, "item": item, "epoch": epoch, "draw": draw}
