"""A loader that decodes on a device: workers make latents, the main process decodes them.

Legend: B draws, K classes, C H W an image.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import TypeVar

from d3data.artifact.drawing import Latent
from d3data.data.dataset import DistilledDataset
from d3data.data.epochs import Index
from d3data.errors import D3DataError
from d3data.utils.checks import whole
from d3data.utils.device import as_device, to_device
from d3data.utils.renamed import keyword_only

Batch = tuple[Latent, Tensor]
AUTOCAST = (torch.bfloat16, torch.float16)


BatchT = TypeVar("BatchT", default=tuple[Tensor, Tensor])


class DecodingLoader(Generic[BatchT]):
    """Batches of a distilled set, decoded one at a time on `device`; fresh every epoch.

    The images are those of the set itself, within 1/255 in float32. On CUDA the next batch is
    decoded on a stream of its own while the last one is trained on.

    Iterating gives (images, labels) on the device: images (B, C, H, W), uint8, float32 from 0 to
    1, or float32 normalized values, as the set's `output` says; labels (B,) int64 classes, or
    (B, K) float32 where they are soft. With `as_dict`, dictionaries instead: a
    `DecodingLoader[dict[str, Tensor]]` for type checkers.

    Args:
        data: the set; its `seed`, its epochs and its output apply here too, its device does not.
        batch_size: B.
        device: where to decode, such as "cuda".
        shuffle: a new order every epoch, if there is no sampler.
        num_workers: processes that make latents; 0 uses this process.
        sampler: an `EpochSampler`, or any other sampler of indices.
        drop_last: leave out a last batch that is smaller.
        autocast: decode in this type, such as `torch.bfloat16`: faster, but not within 1/255.
        compile: decode with `torch.compile`.
        batch_transform: applied to the images of each batch, on the device; a transform of
            torchvision draws its random numbers once for the whole batch.
        generator: of the order.
        persistent_workers: keep the workers from one epoch to the next.
        multiprocessing_context: how workers are started, "fork", "spawn" or "forkserver".

    Raises:
        DeviceError: this machine does not have the device.
        D3DataError: the set has transforms of single samples, or outputs latents.
    """

    dataset: DistilledDataset[Any]
    device: torch.device

    @keyword_only("device")
    def __init__(
        self,
        data: DistilledDataset[Any],
        batch_size: int,
        *,
        device: str | torch.device,
        shuffle: bool = True,
        num_workers: int = 0,
        sampler: Iterable[Index] | None = None,
        drop_last: bool = False,
        autocast: torch.dtype | None = None,
        compile: bool = False,
        batch_transform: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
        persistent_workers: bool = False,
        multiprocessing_context: str | None = None,
    ) -> None:
        _require_whole_batches(data)
        if autocast is not None and autocast not in AUTOCAST:
            raise D3DataError(f"autocast={autocast!r}: use torch.bfloat16 or torch.float16")
        self.dataset, self.device = data, as_device(device)
        self._batch_transform = batch_transform
        if autocast is not None or compile:
            self._drawer = data.drawer.to(self.device, autocast=autocast, compiled=compile)
        else:
            self._drawer = data.on(self.device)
        self._loader: DataLoader[Batch] = DataLoader(
            _Latents(data),
            batch_size=whole(batch_size, "batch_size", least=1),
            shuffle=shuffle and sampler is None,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=num_workers,
            collate_fn=_unchanged,
            pin_memory=self.device.type == "cuda",
            generator=generator,
            persistent_workers=persistent_workers,
            multiprocessing_context=multiprocessing_context,
        )

    def __len__(self) -> int:
        """The batches of an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[BatchT]:
        return (
            self._prefetched() if self.device.type == "cuda" else map(self._decoded, self._loader)
        )

    def _prefetched(self) -> Iterator[Any]:
        """Yield each batch when the next one has been launched on a side stream."""
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        launched: tuple[Any, torch.cuda.Event] | None = None
        for batch in self._loader:
            with torch.cuda.stream(side):
                following = self._decoded(batch), side.record_event()
            if launched is not None:
                yield self._received(*launched)
            launched = following
        if launched is not None:
            yield self._received(*launched)

    def _received(self, sample: Any, decoded: torch.cuda.Event) -> Any:
        """A batch of the side stream, for the stream that the caller works on."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(decoded)
        for tensor in sample.values() if isinstance(sample, dict) else sample:
            tensor.record_stream(stream)
        return sample

    def _decoded(self, batch: Batch) -> Any:
        latent, labels = batch
        images = self.dataset.output_format.batch(self._drawer.decode(latent))
        if self._batch_transform is not None:
            images = self._batch_transform(images)
        if not self.dataset.as_dict:
            return images, to_device(labels, self.device)
        keys = {"label": labels, "item": latent.item, "epoch": latent.epoch, "draw": latent.draw}
        moved = {name: to_device(key, self.device) for name, key in keys.items()}
        return {"image": images, **moved}


class _Latents(Dataset[Batch]):
    """Whole batches of latents."""

    def __init__(self, data: DistilledDataset[Any]) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitems__(self, indices: Sequence[Index]) -> Batch:
        return self._data.latents(indices)


def _unchanged(batch: Any) -> Any:
    return batch


def _require_whole_batches(data: DistilledDataset[Any]) -> None:
    if not isinstance(data, DistilledDataset):
        raise D3DataError(
            f"a DecodingLoader takes what d3data.load returns, not a {type(data).__name__}"
        )
    if data.transform is not None or data.target_transform is not None:
        raise D3DataError(
            "a DecodingLoader decodes whole batches, and this set has a transform of single "
            "samples: load it without, and pass batch_transform= to the loader"
        )
    if data.output_format.output in ("latent", "pil"):
        raise D3DataError(
            "a DecodingLoader returns batches of images as tensors: load the set with "
            "output='image', 'float' or 'normalized'"
        )
