"""A loader that decodes on a device: workers make latents, the main process makes images of them.

Legend: B draws, K classes, C H W an image.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from d3data.artifact.drawing import Latent
from d3data.data.dataset import DistilledDataset
from d3data.data.epochs import Index
from d3data.errors import D3DataError
from d3data.utils.checks import whole
from d3data.utils.device import as_device

Batch = tuple[Latent, Tensor]
AUTOCAST = (torch.bfloat16, torch.float16)


class DecodingLoader:
    """Batches of a distilled set, decoded one at a time on `device`; fresh every epoch.

    The images are those that the set itself gives, within 1/255 in float32. On CUDA the next
    batch is decoded on a stream of its own while the last one is trained on.

    Iterating gives (images, labels) on the device: images (B, C, H, W), uint8, float32 from 0 to
    1, or float32 normalised values, as the set's `output` says; labels (B,) int64 classes, or
    (B, K) float32 where they are soft. Where the set has `as_dict`, dictionaries instead.

    Args:
        data: the set; its `seed`, its epochs and what it outputs hold here too, its device not.
        batch_size: B.
        device: where to decode, such as "cuda".
        shuffle: a new order every epoch, where there is no sampler.
        num_workers: processes that make latents; 0 makes them here.
        sampler: an `EpochSampler`, or any other sampler of indices.
        drop_last: leave out a last batch that is smaller.
        autocast: decode in this type, such as `torch.bfloat16`: faster, and no longer within
            1/255.
        compile: decode with `torch.compile`.
        batch_transform: applied to the images of each batch, on the device; a transform of
            torchvision draws once for the whole batch.
        generator: of the order.
        persistent_workers: keep the workers from one epoch to the next.
        multiprocessing_context: how workers are started, "fork", "spawn" or "forkserver".

    Raises:
        DeviceError: this machine does not have the device.
        D3DataError: the set has transforms of single samples, or outputs latents.
    """

    def __init__(
        self,
        data: DistilledDataset,
        batch_size: int,
        device: str | torch.device,
        *,
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
            raise D3DataError(f"autocast={autocast!r}: it is torch.bfloat16, or torch.float16")
        self.dataset, self.device = data, as_device(str(device))
        self._change = batch_transform
        self._drawer = data.on(self.device)
        if autocast is not None or compile:
            self._drawer = data.drawer.to(self.device, autocast=autocast, compiled=compile)
        self._loader: DataLoader[Batch] = DataLoader(
            _Latents(data),
            batch_size=whole(batch_size, "batch_size", least=1),
            shuffle=shuffle and sampler is None,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=num_workers,
            collate_fn=_as_it_is,
            pin_memory=self.device.type == "cuda",
            generator=generator,
            persistent_workers=persistent_workers,
            multiprocessing_context=multiprocessing_context,
        )

    def __len__(self) -> int:
        """The batches of an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        return self._ahead() if self.device.type == "cuda" else map(self._decoded, self._loader)

    def _ahead(self) -> Iterator[Any]:
        """Hand out each batch when the next one has been launched on a stream aside."""
        aside = torch.cuda.Stream(self.device)
        aside.wait_stream(torch.cuda.current_stream(self.device))
        launched: tuple[Any, torch.cuda.Event] | None = None
        for batch in self._loader:
            with torch.cuda.stream(aside):
                coming = self._decoded(batch), aside.record_event()
            if launched is not None:
                yield self._received(*launched)
            launched = coming
        if launched is not None:
            yield self._received(*launched)

    def _received(self, sample: Any, decoded: torch.cuda.Event) -> Any:
        """What was made aside, for the stream that the caller works on."""
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(decoded)
        for tensor in sample.values() if isinstance(sample, dict) else sample:
            tensor.record_stream(stream)
        return sample

    def _decoded(self, batch: Batch) -> Any:
        latent, labels = batch
        images = self.dataset.present.batch(self._drawer.decode(latent))
        if self._change is not None:
            images = self._change(images)
        there = {"label": labels, "item": latent.item, "epoch": latent.epoch, "draw": latent.draw}
        if not self.dataset.as_dict:
            return images, labels.to(self.device, non_blocking=True)
        moved = {name: t.to(self.device, non_blocking=True) for name, t in there.items()}
        return {"image": images, **moved}


class _Latents(Dataset[Batch]):
    """A set before it is decoded, whole batches at a time."""

    def __init__(self, data: DistilledDataset) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitems__(self, indices: Sequence[Index]) -> Batch:
        return self._data.latents(indices)


def _as_it_is(batch: Any) -> Any:
    return batch


def _require_whole_batches(data: DistilledDataset) -> None:
    if not isinstance(data, DistilledDataset):
        raise D3DataError(
            f"a DecodingLoader decodes what d3data.load returns, and not a {type(data).__name__}"
        )
    if data.transform is not None or data.target_transform is not None:
        raise D3DataError(
            "a DecodingLoader makes whole batches, and this set transforms samples one by one: "
            "load it without a transform, and give the loader batch_transform="
        )
    if data.present.output == "latent":
        raise D3DataError(
            "a DecodingLoader gives images: load the set with output='image', 'float' or "
            "'normalised'"
        )
