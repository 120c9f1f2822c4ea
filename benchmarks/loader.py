"""How fast sets feed a training loop: ratios of one run, beside what else could feed it.

    python benchmarks/loader.py [--json benchmarks/results/loader.json] [--rounds 5]

Every comparison takes its sides in turn, in rounds, and reports the median of the rounds' ratios.
Sets have random tensors: what an image shows does not change what it costs.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from torch.utils.data import DataLoader

import d3data
from d3data.artifact import artifact
from d3data.artifact.manifest import About, Method, Provenance
from d3data.artifact.part import Part
from d3data.images.preprocessing import Preprocessing
from d3data.images.spec import Image
from d3data.sources import registry
from d3data.sources.decoders import DecoderSpec, sizes
from d3data.sources.gaussian import GaussianSpec

BATCH = 256
CLASSES = 10
ITEMS = 8  # of each class
SIZES = {32: 64, 64: 256}  # widths of small decoders, by side of their images
ABOUT = About(
    name="benchmark",
    version="1.0.0",
    method=Method(name="random tensors", reference="none"),
    provenance=Provenance(
        task="none",
        license="none",
        source="none",
        fingerprint="0" * 64,
        images=50_000,
        recipe_sha256=None,
        seeds=("0",),
        versions={},
        device="cpu",
        seconds=0,
        date="2026-01-01",
    ),
)


def a_set(folder: Path, size: int, **spec: Any) -> artifact.Artifact:
    """A set of random tensors: 10 classes, a small decoder unless another is named."""
    decoder = DecoderSpec(family="small", width=SIZES[size], noise=64)
    source = GaussianSpec(**{"decoder": decoder, **spec})
    image = Image(channels=3, size=size, mean=(0.5,) * 3, std=(0.25,) * 3)
    shapes = registry.layout(source, image, items=CLASSES * ITEMS, classes=CLASSES)
    rng = torch.Generator().manual_seed(0)
    tensors = {name: 0.1 * torch.randn(s, generator=rng) for name, s in shapes.items()}
    tensors["std"].abs_()
    return artifact.write(
        folder,
        spec=source,
        image=image,
        preprocessing=Preprocessing(channels=3, size=size, fit="exact"),
        classes=[f"class {number}" for number in range(CLASSES)],
        parts=[Part(tuple(range(CLASSES)), (ITEMS,) * CLASSES, tensors)],
        about=ABOUT,
        draws_per_class=2560,
    )


def rate(batches: Iterator[Any], images: int, count: Callable[[Any], int]) -> float:
    """Images a second of an iterator, after its first batch."""
    next(batches)
    seen, began = 0, time.perf_counter()
    while seen < images:
        seen += count(next(batches))
    return seen / (time.perf_counter() - began)


def of_pair(batch: Any) -> int:
    return len(batch[0])


def bare(found: artifact.Artifact, layout: torch.memory_format) -> Iterator[torch.Tensor]:
    """Batches of a bare decoder on latents that are ready."""
    source = found.sources()[0].to(memory_format=layout)
    latents = torch.randn(BATCH, 64)
    with torch.inference_mode():
        while True:
            yield source.decoder(latents)


def loader(data: Any, workers: int = 0, batch: int = BATCH) -> Iterator[Any]:
    """Batches of an ordinary DataLoader, epoch after epoch."""
    batches = DataLoader(
        data, batch_size=batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    while True:
        yield from batches


def one_by_one(data: Any) -> Iterator[Any]:
    index = 0
    while True:
        yield data[index % len(data)]
        index += 1


def ratios(one: Callable[[], float], other: Callable[[], float], rounds: int) -> dict[str, float]:
    """Medians of two rates, taken in turn, and of their ratio."""
    pairs = [(one(), other()) for _ in range(rounds)]
    return {
        "rate": statistics.median(a for a, _ in pairs),
        "against": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def against_the_decoder(place: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """A DataLoader's images a second over the bare decoder's."""
    for size, width in SIZES.items():
        images = {32: 20_000, 64: 2_000}[size]
        for residual in (False, True):
            found = a_set(place / f"{size}-{residual}", size, residual=residual)
            data = d3data.load(found.folder)
            name = f"small decoder k{width} at {size}x{size}" + ", residual" * residual

            def decode(
                threads: int,
                layout: torch.memory_format = torch.contiguous_format,
                found: Any = found,
                images: int = images,
            ) -> float:
                torch.set_num_threads(threads)
                return rate(bare(found, layout), images, len)

            def load(workers: int, data: Any = data, images: int = images) -> float:
                return rate(loader(data, workers), images, of_pair)

            threads = torch.get_num_threads()
            told = ratios(lambda load=load: load(0), lambda d=decode, t=threads: d(t), rounds)
            yield {"what": f"DataLoader, 0 workers: {name}", "bar": 0.9, **told}
            told = ratios(
                lambda load=load: load(0),
                lambda d=decode, t=threads: d(t, torch.channels_last),
                rounds,
            )
            yield {"what": f"the same over a decoder in channels-last: {name}", **told}
            if threads >= 2:
                told = ratios(lambda load=load: load(2), lambda d=decode: 2 * d(1), rounds)
                yield {"what": f"DataLoader, 2 workers: {name}", "bar": 0.8, **told}
            torch.set_num_threads(threads)
            told = ratios(
                lambda load=load: load(0),
                lambda data=data: rate(one_by_one(data), 500, lambda pair: 1),
                rounds,
            )
            yield {"what": f"batched over item by item: {name}", "bar": 5, **told}


def beside_others(place: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """The same images from files, through the libraries that people use for them."""
    for size in SIZES:
        data = d3data.load(place / f"{size}-False")
        ours = {"d3data, float32": lambda data=data: rate(loader(data), 5_000, of_pair)}
        loop = d3data.DecodingLoader(data, BATCH, device="cpu", autocast=torch.bfloat16)

        def bf16(loop: Any = loop) -> float:
            def epochs() -> Iterator[Any]:
                while True:
                    yield from loop

            return rate(epochs(), 5_000, of_pair)

        if torch.ops.mkldnn._is_mkldnn_bf16_supported():
            ours["d3data, bfloat16"] = bf16
        sides = ours | files(place, data, size)
        rates = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                rates[name].append(side())
        medians = {name: statistics.median(found) for name, found in rates.items()}
        for name, found in medians.items():
            ratio = medians["d3data, float32"] / found
            bar = 1.0 if size == 32 and not name.startswith("d3data") else None
            yield {
                "what": f"d3data over {name} at {size}x{size}",
                "rate": medians["d3data, float32"],
                "against": found,
                "ratio": ratio,
                "bar": bar,
            }


def files(place: Path, data: Any, size: int) -> dict[str, Callable[[], float]]:
    """ImageFolder, WebDataset, `datasets` and a bare JPEG decoder on the same draws."""
    from datasets import Dataset, Features
    from datasets import Image as HFImage
    from torchvision.io import decode_jpeg, encode_jpeg
    from torchvision.transforms.v2.functional import pil_to_tensor as to_tensor

    jpegs = [encode_jpeg(data.draw(0, i)[0].as_subclass(torch.Tensor)) for i in range(2560)]
    folder = place / f"jpeg-{size}"
    for number, jpeg in enumerate(jpegs):
        name = folder / str(number % CLASSES) / f"{number:05}.jpg"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(jpeg.numpy().tobytes())
    shard = place / f"{size}.tar"
    pack(shard, jpegs)
    images = torchvision.datasets.ImageFolder(folder, transform=to_tensor)
    rows = {"image": [{"bytes": j.numpy().tobytes(), "path": None} for j in jpegs]}
    table = Dataset.from_dict(rows, features=Features({"image": HFImage()}))
    path = place / f"{size}.parquet"
    table.to_parquet(path)
    read = Dataset.from_parquet(str(path), cache_dir=str(place / "cache")).with_transform(
        lambda batch: {"image": [to_tensor(image) for image in batch["image"]]}
    )

    def raw() -> Iterator[list[torch.Tensor]]:
        while True:
            yield [decode_jpeg(jpeg) for jpeg in jpegs[:BATCH]]

    return {
        "ImageFolder of JPEG": lambda: rate(loader(images), 5_000, of_pair),
        "WebDataset of JPEG": lambda: rate(webdataset(shard), 5_000, of_pair),
        "datasets, Parquet of JPEG": lambda: rate(loader(read), 5_000, lambda b: len(b["image"])),
        "torchvision's bare JPEG decoder": lambda: rate(raw(), 5_000, len),
    }


def pack(shard: Path, jpegs: list[torch.Tensor]) -> None:
    import webdataset

    with webdataset.TarWriter(str(shard)) as writer:
        for number, jpeg in enumerate(jpegs):
            key = f"{number:05}"
            writer.write({"__key__": key, "jpg": jpeg.numpy().tobytes(), "cls": number % CLASSES})


def webdataset(shard: Path) -> Iterator[Any]:
    import webdataset

    samples = webdataset.WebDataset(str(shard), shardshuffle=False, empty_check=False)
    decoded = samples.shuffle(1000).decode("torchrgb8").to_tuple("jpg", "cls").batched(BATCH)
    while True:
        yield from DataLoader(decoded, batch_size=None)


def reading(place: Path, rounds: int) -> Iterator[dict[str, Any]]:
    """How long a warm `load` takes, and how fast a large artifact is hashed, parsed and built."""
    small = a_set(place / "1MB", 32, decoder=DecoderSpec(family="small", width=128, noise=128))
    times = []
    for _ in range(4 * rounds):
        began = time.perf_counter()
        d3data.load(small.folder)
        times.append(time.perf_counter() - began)
    size = small.ledger.content_bytes / 1e6
    seconds = statistics.median(times)
    yield {"what": f"warm load of {size:.2f} MB, ms", "rate": 1e3 * seconds, "most": 50}
    large = a_set(
        place / "500MB", 64, decoder=DecoderSpec(family="medium", width=2560, noise=8192)
    )
    size = large.ledger.content_bytes
    rates, memory = [], memory_of_reading(large.folder) / size
    for _ in range(rounds + 1):
        began = time.perf_counter()
        artifact.read(large.folder).sources()
        rates.append(size / (time.perf_counter() - began) / 1e9)
    what = f"{size / 1e6:.0f} MB hashed, parsed and built"
    yield {"what": f"{what}, GB/s", "rate": statistics.median(rates[1:]), "bar": 0.8}
    yield {"what": f"{what}, memory over size", "rate": memory, "most": 1.2}


def memory_of_reading(folder: Path) -> int:
    """The most bytes that a new process has beyond its imports and a small artifact."""
    code = """if True:
        import pathlib, sys
        from d3data import artifact
        status = pathlib.Path("/proc/self/status")
        peak = lambda: 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
        artifact.read(sys.argv[1]).sources()
        before = peak()
        sources = artifact.read(sys.argv[2]).sources()
        print(peak() - before)
    """
    command = [sys.executable, "-c", code, str(folder.parent / "1MB"), str(folder)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def on_a_gpu(place: Path) -> Iterator[dict[str, Any]]:
    """Images a second of D3's three decoders at batch 4096, and their share of a matmul's peak."""
    if not torch.cuda.is_available():
        return
    square = torch.randn(8192, 8192, device="cuda")
    peak_flops = 2 * 8192**3 / fastest(lambda: square @ square)
    published = {"small": (256, 64), "medium": (512, 2048), "large": (1024, 4096)}
    for family, (width, noise) in published.items():
        decoder = DecoderSpec(family=family, width=width, noise=noise)
        found = a_set(place / family, 64, decoder=decoder)
        source = found.sources()[0].cuda()
        latents = torch.randn(4096, noise, device="cuda")
        with torch.inference_mode():
            seconds = fastest(lambda source=source, latents=latents: source.decoder(latents))
        share = 4096 * flops(decoder, source.image) / seconds / peak_flops
        yield {
            "what": f"{family} decoder on {torch.cuda.get_device_name()}, batch 4096",
            "rate": 4096 / seconds,
            "ratio": share,
        }


def fastest(run: Callable[[], Any]) -> float:
    times = []
    for _ in range(6):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return min(times[1:])


def flops(decoder: DecoderSpec, image: Image) -> int:
    """Multiplications and additions of one image."""
    plan = sizes(decoder, image)
    shapes, side, total = plan.shapes(), plan.base, 0
    if plan.linear:
        total += int(np.prod(shapes["project.weight"]))
    for stage in range(plan.stages):
        total += side**2 * int(np.prod(shapes[f"ups.{stage}.weight"]))
        side *= 2
    return 2 * (total + side**2 * int(np.prod(shapes["out.weight"])))


def met(row: dict[str, Any]) -> str:
    if row.get("bar") is not None:
        return "met" if row.get("ratio", row["rate"]) >= row["bar"] else "missed"
    if row.get("most") is not None:
        return "met" if row["rate"] <= row["most"] else "missed"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        place, rounds = Path(name), options.rounds
        tables = (
            reading(place, rounds),
            against_the_decoder(place, rounds),
            beside_others(place, rounds),
            on_a_gpu(place),
        )
        for row in (row for table in tables for row in table):
            rows.append({**row, "verdict": met(row)})
            bar = row.get("bar") or row.get("most") or ""
            ratio = f"{row['ratio']:.2f}" if "ratio" in row else ""
            print(
                f"{row['what']:<64}{row['rate']:>10.4g}{row.get('against', 0):>10.4g}"
                f"{ratio:>8}{bar:>7} {met(row)}",
                flush=True,
            )
    if options.json:
        page = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.processor() or platform.machine()}, "
            f"{torch.get_num_threads()} threads",
            "torch": torch.__version__,
            "rounds": rounds,
            "rows": rows,
        }
        options.json.write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
