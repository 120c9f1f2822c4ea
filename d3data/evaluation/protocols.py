"""Protocols: how a network is trained on a set of images before it is tested. Named and frozen.

A number compares with every other number of the same task, protocol and version; whoever changes
a setting takes the next version. docs/evaluation.md has the measurements, on validation images,
by which the settings of `quick`, `standard` and `field` were chosen.
"""

import itertools
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from d3data.errors import RecipeError, entry
from d3data.nets import NetworkSpec
from d3data.nets.training import cosine
from d3data.utils.renamed import moved
from d3data.utils.schema import Extended


def halfway(step: int, steps: int) -> float:
    """The factor on a learning rate that falls to a tenth after half of the steps."""
    return 1.0 if step < (steps + 1) // 2 else 0.1


Mix = Literal["none", "cutmix", "mixup", "cutmix-half"]
LENGTHS = {"steps", "epochs"}
schedules: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "halfway": halfway}


class Protocol(Extended):
    """How a network is trained; it is tested once, after the last step.

    Attributes:
        name: what it is called.
        version: of its settings.
        network: what is trained, unless others are asked for.
        networks: how many are trained, each from its own seed.
        steps: how long, in optimizer steps of `batch` draws; batches run on across epochs.
        epochs: how long, in passes over the set, each ending with a smaller batch; instead of
            `steps`.
        batch: draws per step.
        optimizer: stochastic gradient descent, or AdamW (Loshchilov & Hutter, arXiv 1711.05101).
        learning_rates: at the start; of several, the one that does best on validation images.
        own_rate: whether networks are trained on a distilled set at the step size that it
            learned; on all else at the learning rate.
        momentum: of the gradient; AdamW has its own.
        weight_decay: of all parameters.
        schedule: half a cosine to zero, or a tenth after half of the steps.
        warmup: the share of the steps before it in which the rate rises in a line.
        floor: the share of the rate that the cosine ends at.
        average: the decay of a moving average of the weights, which is tested in their place.
        augment: the augmentation's name; its random numbers are new for every batch.
        mix: whether images are mixed with others of their batch, after they are augmented;
            `cutmix-half` does so in half of the batches, chosen at random.
        draws: what an epoch of a distilled set has: this many draws of each class; a draw of each
            item (`items`), and of its mean too where it is a prior with soft labels (`means`), as
            D3 trains; or as many draws as the set gives a loader (`set`).
        labels: the set's `own`; or hard or soft ones, which it must then have.
        real_epochs: how long networks are trained on all real images, the row `real`; as many
            steps as on the set unless given.
    """

    name: str
    version: int = Field(ge=1)
    network: NetworkSpec = NetworkSpec(width=128)
    networks: int = Field(default=5, ge=1)
    steps: int | None = Field(default=None, ge=1)
    epochs: int | None = Field(default=None, ge=1)
    batch: int = Field(ge=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    own_rate: bool = False
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "halfway"] = "cosine"
    augment: str
    mix: Mix = "none"
    draws: Annotated[int, Field(ge=1)] | Literal["set", "items", "means"] = "set"
    labels: Literal["own", "hard", "soft"] = "own"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    floor: float = Field(default=0.0, ge=0, lt=1)
    average: float | None = Field(default=None, gt=0, lt=1)
    real_epochs: int | None = Field(default=None, ge=1)

    later: ClassVar[frozenset[str]] = frozenset(
        {"own_rate", "warmup", "floor", "average", "real_epochs"}
    )

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("a protocol needs either steps or epochs")
        if self.floor and self.schedule != "cosine":
            raise ValueError('floor is for schedule = "cosine": leave it out, or choose that')
        return self

    def length(self, draws: int) -> int:
        """The optimizer steps of a training on a set of `draws` images per epoch."""
        return self.steps or (self.epochs or 0) * self._steps_of_epoch(draws)

    @property
    def rate(self) -> float:
        """The learning rate where none is chosen: the middle one, of an even number the lower."""
        return sorted(self.learning_rates)[(len(self.learning_rates) - 1) // 2]

    @property
    def trained(self) -> str:
        """The optimizer and its settings, in words."""
        rates = " or ".join(f"{rate:g}" for rate in self.learning_rates)
        rates = f"the set's own rate (others {rates})" if self.own_rate else rates
        decay = f"weight decay {self.weight_decay:g}"
        if self.optimizer == "adamw":
            return f"AdamW {rates}, {decay}"
        return f"SGD {rates}, momentum {self.momentum:g}, {decay}"

    def factor(self, step: int, steps: int) -> float:
        """The factor on the learning rate before `step` of `steps`."""
        rise = round(self.warmup * steps)
        if step < rise:
            return (step + 1) / rise
        return self.floor + (1 - self.floor) * schedules[self.schedule](step - rise, steps - rise)

    def length_on_real(self, draws: int, steps: int) -> int:
        """The optimizer steps on all real images, `draws`, where the set is given `steps`."""
        if self.real_epochs is None:
            return steps
        return self.real_epochs * self._steps_of_epoch(draws)

    def _steps_of_epoch(self, draws: int) -> int:
        lone = draws > self.batch and draws % self.batch == 1
        return -(-draws // self.batch) - lone


def batches(
    draws: int, protocol: Protocol, *, rng: torch.Generator
) -> Iterator[list[tuple[int, Tensor]]]:
    """Which draws each step takes: pieces of permuted epochs, as (epoch, indices).

    No draw comes twice in an epoch. A protocol that counts steps fills every batch, from as many
    epochs as that takes; one that counts epochs ends each with a smaller batch, but a single draw,
    which norms over a batch cannot take, joins the batch before.
    """
    pieces: list[tuple[int, Tensor]] = []
    room = protocol.batch
    for epoch in itertools.count():
        order = torch.randperm(draws, generator=rng)
        while len(order):
            lone = protocol.epochs is not None and 1 < room == len(order) - 1
            taken, order = order[: room + lone], order[room + lone :]
            pieces.append((epoch, taken))
            room -= len(taken)
            if room <= 0 or (protocol.epochs and not len(order)):
                yield pieces
                pieces, room = [], protocol.batch


def derived(
    tables: Mapping[str, Mapping[str, Any]], known: Mapping[str, Protocol]
) -> dict[str, Protocol]:
    """Protocols from tables of TOML, each `like` a known one, or one above, but for what it says.

    Raises:
        RecipeError: a table is no protocol, or is like one that there is not.
    """
    made: dict[str, Protocol] = {}
    for name, table in tables.items():
        values = dict(table)
        like = values.pop("like", None)
        if not isinstance(like, str | None):
            raise RecipeError(f"protocol {name}: like is {like!r}; it is the name of a protocol")
        base = {} if like is None else entry({**known, **made}, like, what="protocol").dump()
        if values.keys() & LENGTHS:
            base = {key: value for key, value in base.items() if key not in LENGTHS}
        made[name] = Protocol.parse({**base, **values, "name": name}, where=f"protocol {name}")
    return made


protocols: dict[str, Protocol] = derived(
    tomllib.loads(Path(__file__).with_name("protocols.toml").read_text("utf-8")), known={}
)


def list_protocols() -> list[str]:
    """The names of the protocols that come with d3data, the shortest first."""
    return list(protocols)


def require_own_name(protocol: Protocol) -> None:
    """Raise RecipeError if another protocol has the name of a published one."""
    known = protocols.get(protocol.name)
    if known is not None and protocol != known:
        raise RecipeError(
            f"this protocol is named {known.name} and has other settings than {known.name} "
            f"v{known.version}: give it another name, since numbers of one name are compared"
        )


def get_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        RecipeError: there is none.
    """
    return entry(protocols, name, what="protocol")


if not TYPE_CHECKING:
    __getattr__ = moved(__name__, named="d3data.evaluation:get_protocol")
