"""What a study says: which sets, made by which recipes, evaluated how."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from d3data.data.sets import as_artifact
from d3data.distill.recipe import Recipe
from d3data.distill.recipe_files import get_recipe
from d3data.errors import D3DataError, RecipeError, entry
from d3data.evaluation.baselines import get_baseline
from d3data.evaluation.networks import wanted
from d3data.evaluation.protocols import Protocol, derived, protocols, require_own_name
from d3data.evaluation.report import SplitName
from d3data.nets import NetworkSpec
from d3data.nets.compute import Precision
from d3data.sources.base import SourceSpec
from d3data.utils.schema import Frozen
from d3data.utils.text import some

UNNAMED = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"  # a file may be called so
LINE = r"^[^|\n]*$"  # of a table


class Entry(Frozen):
    """A set of a study: one that a recipe makes, or one that there is.

    Attributes:
        name: what the tables call it.
        recipe: a name of `d3data recipes`, or a path to a .toml.
        changes: keys of the recipe, as `--set` takes them.
        set: the name or the folder of a finished set, in place of a recipe.
        bits: store it in so many bits a value, 32, 16, or 8 to 2.
        noise: draw with so many times the noise that the set has.
        interpolated: in the place of the items of each class, so many at random between two of it.
        baked: train on the images of so many draws of each item, the same in every epoch.
        networks: how many are trained on it; those of the study unless given.
        protocols: the same.
        baselines: the same.
    """

    name: str = Field(pattern=UNNAMED)
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    set: str | None = Field(default=None, min_length=1)
    bits: Literal[32, 16, 8, 7, 6, 5, 4, 3, 2] | None = None
    noise: float | None = Field(default=None, gt=0)
    interpolated: int | None = Field(default=None, ge=1, le=1_000_000)
    baked: int | None = Field(default=None, ge=1)
    networks: int | None = Field(default=None, ge=1)
    protocols: tuple[str, ...] | None = Field(default=None, min_length=1)
    baselines: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _is_made_in_one_way(self) -> Self:
        if self.recipe is None and self.set is None:
            raise ValueError(f"{self.name} has neither a recipe nor a set: give one")
        if self.recipe is not None and self.set is not None:
            raise ValueError(f"{self.name} has a recipe and a set: give one of them")
        if self.set is not None and self.changes:
            raise ValueError(f"{self.name}: changes are for recipes, not for a set")
        return self

    def require_fit(self, source: SourceSpec) -> None:
        """Raise RecipeError if what is to be done with the set cannot be with such a source."""
        if self.baked and "pixels" in source.purposes:
            raise RecipeError("pixels are images already: leave baked out")
        if self.baked not in (None, 1) and not source.random:
            raise RecipeError(f"a {source.kind} item has one image: set baked=1")
        if self.noise:
            source.with_noise(self.noise, {})

    def origin(self, folder: Path) -> Recipe | str:
        """The recipe that makes it, or the set that there is; paths start in `folder`."""
        if self.recipe is not None:
            found = str(folder / self.recipe) if self.recipe.endswith(".toml") else self.recipe
            return get_recipe(found, overrides=self.changes)
        assert self.set is not None, "an entry has a recipe or a set"
        if self.set[0] in ".~" or Path(self.set).is_absolute():
            return str(folder / Path(self.set).expanduser())
        return self.set

    def judged_beside(self, study: "Study") -> tuple[str, ...]:
        """The baselines that it is evaluated beside."""
        return study.baselines if self.baselines is None else self.baselines

    def judged_by(self, study: "Study") -> list[Protocol]:
        """The protocols that it is evaluated by."""
        return [study.protocol(name) for name in self.protocols or study.protocols]


class Study(Frozen):
    """Sets that are evaluated alike.

    Attributes:
        name: of its files.
        claim: what it is about, in a sentence.
        outcome: what came out, in a word; empty before it is run.
        verdict: the same in a sentence, with numbers.
        protocols: how networks are trained, each in turn.
        nets: which networks, such as `resnet18/batch`; the protocol's where there are none.
        networks: how many of each are trained on each set.
        baselines: of each set, such as random-bytes and compressed.
        split: what they are tested on.
        compile: train through torch.compile.
        precision: of training, as for `evaluate`.
        scores: also DD-Ranking's robust scores of each set.
        own: protocols of its own by name, each `like` a published one but for what it says.
        entries: the sets.
    """

    name: str = Field(pattern=UNNAMED)
    claim: str = Field(pattern=LINE)
    outcome: Literal["", "reproduced", "reproduced in part", "not reproduced", "not decided"] = ""
    verdict: str = Field(default="", pattern=LINE)
    protocols: tuple[str, ...] = Field(default=("quick",), min_length=1)
    nets: tuple[str, ...] = ()
    networks: int = Field(default=2, ge=1)
    baselines: tuple[str, ...] = ()
    split: SplitName = "test"
    compile: bool = False
    precision: Precision | None = None
    scores: bool = False
    own: dict[Annotated[str, Field(pattern=UNNAMED)], dict[str, Any]] = Field(default={})
    entries: tuple[Entry, ...] = Field(min_length=1)

    def protocol(self, name: str) -> Protocol:
        """The protocol of that name, its own or a published one.

        Raises:
            RecipeError: there is none, or one of its own is named like a published one.
        """
        own = derived(self.own, protocols)
        for protocol in own.values():
            require_own_name(protocol)
        return entry(protocols | own, name, what="protocol")

    def require_sound(self, folder: Path) -> None:
        """Raise an error where an entry's recipe or set, or what judges it, is not there.

        Raises:
            RecipeError: so it is with a recipe or a protocol, or an entry asks of a set what it
                has not, such as noise of pixels.
            TrainingError: so it is with the normalization of a network.
            UnknownNameError: so it is with a set, a baseline or a network.
            HubError: a set cannot be had from the Hub.
            ArtifactError: a set is broken.
        """
        try:
            wanted(self.nets or None, NetworkSpec())
        except D3DataError as failure:
            raise type(failure)(f"nets: {failure}") from None
        for one in self.entries:
            try:
                origin = one.origin(folder)
                if isinstance(origin, Recipe):
                    one.require_fit(origin.source)
                else:
                    one.require_fit(as_artifact(origin).manifest.content.source)
                for name in one.judged_beside(self):
                    get_baseline(name)
                one.judged_by(self)
            except D3DataError as failure:
                raise type(failure)(f"entry {one.name}: {failure}") from None

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [one.name.lower() for one in self.entries]  # some disks know no capitals
        _require_once(names, "entries must have names of their own")
        _require_once(self.nets, "nets has a network twice")
        for named in (self.protocols, *(one.protocols or () for one in self.entries)):
            _require_once(named, "protocols has one twice")
        return self


def _require_once(names: Sequence[str], refusal: str) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{refusal}: {some(sorted(twice))}")


def read_study(path: str | Path) -> Study:
    """The study in a TOML file; RecipeError if it is none, or a recipe of it cannot be read."""
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as failure:
        raise RecipeError(f"{path} cannot be read as a study: {failure.strerror}") from None
    except ValueError as failure:
        raise RecipeError(f"{path} is not TOML: {failure}") from None
    study = Study.parse(values, where=str(path))
    try:
        study.require_sound(path.parent)
    except D3DataError as failure:
        raise type(failure)(f"{path}, {failure}") from None
    return study
