"""Read an artifact and draw from it without d3data: `python read_without_d3data.py FOLDER`."""

import json
import sys
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor


def read(folder: str | Path) -> tuple[dict, list[dict[str, Tensor]]]:
    """The content of the manifest, and the float32 tensors of each part, digests checked."""
    page, parts = Path(folder, "d3data.json").read_bytes(), []
    told, block = json.loads(page), page.split(b',"content":')[1].split(b',"content_sha256":')[0]
    assert sha256(block).hexdigest() == told["content_sha256"], "the content was changed"
    assert sha256(page[:-82] + b"}").hexdigest() == told["self_sha256"], "the page was changed"
    for entry in told["content"]["parts"]:
        data = Path(folder, entry["path"]).read_bytes()
        assert sha256(data).hexdigest() == entry["sha256"], f"{entry['path']} was changed"
        held, how = load(data), entry["quantisation"]
        for name, shape in shapes(told["content"], entry, held).items():
            if (scale := held.pop(f"{name}.scale", None)) is not None:
                held[name] = unpacked(held[name], scale, shape, name, how)
        parts.append({name: tensor.float() for name, tensor in held.items()})
    return told["content"], parts


def shapes(content: dict, entry: dict, held: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor that may be stored as integers."""
    size, rgb = content["image"]["size"], content["image"]["channels"]
    source, items = content["source"], sum(entry["items_per_class"])
    found = {"labels": (items, len(content["classes"])), "pixels": (items, rgb, size, size)}
    if source["kind"] == "pixels":
        return found
    assert source["kind"] != "generator", "bake it to pixels first: d3data bake"
    if source["kind"] == "spatial":
        side, before = -(-size // 2 ** source["stages"]), source["channels"]
        found["mean"] = (items, before, side, side)
        for name in layers(source):
            after = len(held[f"decoder.{name}.bias"])
            found[f"decoder.{name}.weight"] = (after, before, 3, 3)
            before = after // 4 if name.startswith("steps") else after
        return found
    decoder, rows = source["decoder"], items if source["std"] == "item" else len(entry["classes"])
    z, before, kernel = decoder["noise"], decoder["width"], 3 + (decoder["family"] == "small")
    found |= {"mean": (items, z), "std": (rows, z)}
    found["decoder.project.weight"] = (len(held.get("decoder.project.bias", ())), z)
    for name in sorted(name for name in held if ".ups." in name and name.endswith("bias")):
        found[name.replace("bias", "weight")] = (before, len(held[name]), kernel, kernel)
        before = len(held[name])
    return found | {"decoder.out.weight": (rgb, before, 3, 3)}


def layers(source: dict) -> list[str]:
    """The convolutions of a decoder of small maps, in order."""
    blocks, steps = range(source["blocks"]), range(source["stages"])
    return ["first", *(f"blocks.{n}" for n in blocks), *(f"steps.{n}" for n in steps), "out"]


def unpacked(data: Tensor, scale: Tensor, shape: tuple[int, ...], name: str, how: dict) -> Tensor:
    """Integers of b bits in a stream, the lowest bit first, times the scale of their slice."""
    root, priors, count = name.split(".")[0], name in ("mean", "std"), torch.Size(shape).numel()
    bits = int(how["priors" if priors else root].removeprefix("int"))
    axis = int(how["axis"] == "latents") if priors else int(".ups." in name or root != "decoder")
    sign, along = 1 << (bits - 1), [-1 if d == axis else 1 for d in range(len(shape))]
    stream = ((data[:, None] >> torch.arange(8)) & 1).flatten()[: count * bits]
    codes = ((stream.view(count, bits) << torch.arange(bits)).sum(1) ^ sign) - sign
    values = codes.view(shape) * scale.float().view(along)
    return values / values.sum(1, keepdim=True) if name == "labels" else values


def noise(seed: int, epoch: int, draw: int, values: int) -> Tensor:
    """Philox4x32-10 and Box-Muller: (values,) standard normal values."""
    blocks, low, k0, k1 = torch.arange(-(-values // 4)), 2**32 - 1, seed % 2**32, seed >> 32
    x = [blocks, *(torch.full_like(blocks, word) for word in (draw & low, draw >> 32, epoch))]
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [((q >> 32) & low) ^ x[1] ^ k0, q & low, ((p >> 32) & low) ^ x[3] ^ k1, p & low]
        k0, k1 = (k0 + 0x9E3779B9) & low, (k1 + 0xBB67AE85) & low
    u = [(word.double() + 0.5) * 2.0**-32 for word in x]
    pairs = [torch.polar((-2 * u[i].log()).sqrt(), 2 * torch.pi * u[i + 1]) for i in (0, 2)]
    return torch.view_as_real(torch.stack(pairs, 1)).flatten()[:values].float()


def decode(content: dict, tensors: dict[str, Tensor], latent: Tensor, white: Tensor) -> Tensor:
    """(Z,) and (C H W,) or nothing -> (C, H, W) normalised values."""
    source, size = content["source"], content["image"]["size"]
    of = {name.removeprefix("decoder."): tensor for name, tensor in tensors.items()}
    if source["kind"] == "spatial":
        return pixels(content, enlarged(source, of, latent[None]))
    if "project.weight" in of:
        latent = of["project.weight"] @ latent + of["project.bias"]
    side = round((len(latent) / source["decoder"]["width"]) ** 0.5)
    maps, extra = latent.view(1, -1, side, side), int(source["decoder"]["family"] != "small")
    for name in sorted(name for name in of if "ups." in name and name.endswith("weight")):
        maps = torch.conv_transpose2d(maps, of[name], of[name[:-6] + "bias"], 2, 1, extra)
        maps = torch.maximum(maps, 0.01 * maps)
    out = pixels(content, torch.conv2d(maps, of["out.weight"], of["out.bias"], padding=1))
    if not source["residual"]:
        return out
    radius = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)[None])
    place, table = (radius / 0.5**0.5 * 24 - 0.5).clamp(0, 23), of["residual.amplitudes"]
    low = place.floor().long().clamp(max=22)
    amplitude = torch.lerp(table[:, low], table[:, low + 1], place - low)
    field = torch.fft.irfft2(torch.fft.rfft2(white.view_as(out)) * amplitude, s=(size, size))
    return out + torch.einsum("kc,khw->chw", of["residual.axes"], field)


def pixels(content: dict, maps: Tensor) -> Tensor:
    """The last map of a decoder, (1, C, side, side), as normalised values (C, H, W)."""
    image, size = content["image"], content["image"]["size"]
    edge = (maps.shape[-1] - size) // 2
    out = torch.tanh(maps)[0, :, edge : edge + size, edge : edge + size]
    if content["source"].get("values") == "normalised":
        return out
    mean, std = torch.tensor([image["mean"], image["std"]])[..., None, None]
    return ((out + 1) / 2 - mean) / std


def enlarged(source: dict, of: dict[str, Tensor], maps: Tensor) -> Tensor:
    """(1, c, g, g) -> (1, C, side, side): convolutions, of which each step doubles the side."""
    for name in layers(source):
        out = torch.conv2d(maps, of[f"{name}.weight"], of[f"{name}.bias"], padding=1)
        if name == "out":
            break
        out = torch.pixel_shuffle(out, 2) if name.startswith("steps") else out
        out = torch.maximum(out, 0.01 * out)
        maps = maps + out if name.startswith("blocks") else out
    return out


def draw(content: dict, parts: list, seed: int, epoch: int, index: int) -> tuple[Tensor, Tensor]:
    """Draw `index` of an epoch: uint8 (C, H, W), and its class () or its probabilities (K,)."""
    image, source, names = content["image"], content["source"], content["classes"]
    each, (turn, of) = content["sampling"]["draws_per_class"], divmod(index, len(names))
    pairs = zip(content["parts"], parts, strict=True)
    entry, tensors = next(pair for pair in pairs if of in pair[0]["classes"])
    counts, place = entry["items_per_class"], entry["classes"].index(of)
    item = sum(counts[:place]) + (turn + epoch * each) % counts[place]
    if source["kind"] == "pixels":
        values = tensors["pixels"][item]
    elif source["kind"] == "spatial":
        moved = noise(seed, epoch, index, tensors["mean"][item].numel()).view_as(
            tensors["mean"][item]
        )
        values = decode(content, tensors, tensors["mean"][item] + source["spread"] * moved, moved)
    else:
        z, field = source["decoder"]["noise"], image["channels"] * image["size"] ** 2
        white = noise(seed, epoch, index, z + field * source["residual"])
        std = tensors["std"][{"item": item, "class": place, "shared": ...}[source["std"]]]
        values = decode(content, tensors, tensors["mean"][item] + std * white[:z], white[z:])
    mean, std = torch.tensor([image["mean"], image["std"]])[..., None, None]
    shown = ((values * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    return shown, tensors["labels"][item] if "labels" in tensors else torch.tensor(of)


if __name__ == "__main__":
    print(draw(*read(sys.argv[1]), seed=0, epoch=0, index=0))
