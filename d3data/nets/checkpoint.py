"""Checkpoints: everything that a job needs to resume, in one safetensors file.

State dicts are trees of tensors and JSON values. The tensors are stored under their paths in the
tree, the tree itself as JSON in the file's one metadata key, with a digest of the tensors' bytes:
a flipped bit in an optimizer's state would silently spoil a run.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from d3data.errors import RunError
from d3data.utils.atomic import write_bytes

METADATA = "d3data"


class Stateful(Protocol):
    """What can be put into a checkpoint and restored from it."""

    def state_dict(self) -> Any: ...
    def load_state_dict(self, state: Any, /) -> Any: ...


@dataclass(frozen=True)
class Saved:
    """The content of a checkpoint: state dicts by name, as they were before `step`."""

    stage: str
    step: int
    states: Mapping[str, Any]

    def within(self, prefix: str) -> dict[str, Any]:
        """The states whose names begin with `prefix`, under the rest of their names."""
        names = (name for name in self.states if name.startswith(prefix))
        return {name.removeprefix(prefix): self.states[name] for name in names}


class Checkpoint:
    """The checkpoint at `path`; one is due when the last is `every_seconds` old."""

    def __init__(self, path: Path, *, every_seconds: float) -> None:
        self.path = path
        self._every, self._last = every_seconds, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._every

    def save(self, stage: str, step: int, objects: Mapping[str, Stateful]) -> None:
        """Replace the checkpoint by the state of `objects` before `step`; or RunError."""
        tensors: dict[str, Tensor] = {}
        states = {name: _pack(it.state_dict(), name, tensors) for name, it in objects.items()}
        header = {"stage": stage, "step": step, "states": states, "sha256": _digest(tensors)}
        write_bytes(self.path, safetensors.torch.save(tensors, {METADATA: json.dumps(header)}))
        self._last = time.monotonic()

    def read(self) -> Saved | None:
        """The last checkpoint, None where there is none; RunError where it is broken."""
        if not self.path.exists():
            return None
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                header = json.loads(file.metadata()[METADATA])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if header["sha256"] != _digest(tensors):
                raise ValueError("its tensors do not have the SHA-256 that was saved")
            states = {name: _unpack(tree, tensors) for name, tree in header["states"].items()}
            return Saved(header["stage"], header["step"], states)
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError) as failure:
            raise RunError(
                f"the checkpoint {self.path} is broken ({failure}): delete it and repeat the "
                "command, which then starts this job from its beginning"
            ) from None


def _pack(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON tree of `value`, whose tensors are added to `tensors`."""
    if isinstance(value, Tensor):
        assert path not in tensors, f"two tensors at {path!r}"
        tensors[path] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": path}
    if isinstance(value, Mapping):  # as pairs, since JSON would turn an optimizer's 0 into "0"
        return {"items": [[k, _pack(v, f"{path}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [_pack(entry, f"{path}/{index}", tensors) for index, entry in enumerate(value)]
    return value


def _unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpack(entry, tensors) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    if "tensor" in tree:
        return tensors[tree["tensor"]]
    return {key: _unpack(value, tensors) for key, value in tree["items"]}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
