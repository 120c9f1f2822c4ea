"""Random numbers are an argument: every generator is made from a seed and a key, on the CPU.

A key names what the numbers are for, so the same step of the same stream draws the same numbers
whether or not anything was interrupted before it, and no two streams share any.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

CPU = torch.device("cpu")


def derive(seed: int, *key: str | int) -> int:
    """A 63-bit seed that depends on `seed` and on every element of `key`."""
    text = "\x1f".join([str(seed), *(f"{type(k).__name__}:{k}" for k in key)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *key: str | int) -> torch.Generator:
    """A CPU generator for the stream that `key` names under `seed`."""
    return torch.Generator().manual_seed(derive(seed, *key))


def seeded(
    seed: int, *key: str | int, device: torch.device = CPU
) -> contextlib.AbstractContextManager[None]:
    """`globally_seeded` for the stream that `key` names under `seed`."""
    return globally_seeded(derive(seed, *key), device=device)


@contextlib.contextmanager
def globally_seeded(number: int, *, device: torch.device = CPU) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device` inside the block, and put them back.

    For what takes no generator: the first weights of networks, and layers that draw, as dropout.
    """
    before = states(device)
    torch.default_generator.manual_seed(number)  # torch.manual_seed seeds all devices
    if device.type != "cpu":
        module = torch.get_device_module(device)
        with module.device(device) if hasattr(module, "device") else contextlib.nullcontext():
            module.manual_seed(number)
    try:
        yield
    finally:
        restore(before, device)


def states(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators of the CPU and of `device`."""
    found = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        found["device"] = torch.get_device_module(device).get_rng_state(*_named(device))
    return found


def restore(saved: Mapping[str, Tensor] | Tensor, device: torch.device) -> None:
    """Put the global generators back to what `states` returned, maybe on another device.

    Earlier checkpoints have the state of the CPU's generator alone.
    """
    saved = {"cpu": saved} if isinstance(saved, Tensor) else saved
    torch.set_rng_state(saved["cpu"])
    if device.type != "cpu" and "device" in saved:
        torch.get_device_module(device).set_rng_state(saved["device"], *_named(device))


def _named(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # there is one, which has no name
