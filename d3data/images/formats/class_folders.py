"""Which split and class an image is of, by the folders that it lies in.

`class/image`, or `split/class/image`, with folders around either that hold nothing else. A folder
is a split by its name (`layout.roles`) if it has class folders below, or if all beside it are
splits too; otherwise it is a class, so that `bus`, `car` and `train` are three classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from d3data.errors import DataError
from d3data.images.formats.layout import CHOOSE, Role, Splits, chosen_names, matched_level, roles
from d3data.utils.text import brief, some

Steps = tuple[str, ...]


class Placed(NamedTuple):
    """An image: its path, and the folders between that of its split and itself."""

    path: str
    below: Steps


def arrange(
    paths: Sequence[str], place: str, splits: Splits | None, described: Iterable[str] = ()
) -> dict[Role, list[Placed]]:
    """Images by split; those outside all folders are in train. `described` folders have labels.

    Where splits are chosen, the folders of classes may also be around those of splits.
    """
    where = {path: path.rpartition("/")[0] for path in paths}
    folders = {name: _steps(name) for name in dict.fromkeys(where.values())}
    _require_different(folders, place)
    parts: dict[Role, list[Placed]] = {"train": []}
    if splits:
        for part, own in chosen_names(paths, splits, place).items():
            levels = {path: matched_level(path, splits[part]) or 0 for path in own}
            parts[part] = [
                Placed(path, folders[where[path]][level:] or folders[where[path]][: level - 1])
                for path, level in levels.items()
            ]
        return parts
    inner = [steps for steps in folders.values() if steps]
    depth = _shared(inner)
    tops = {steps[depth]: "/".join(steps[: depth + 1]) for steps in inner}
    deep = {steps[depth] for steps in inner if len(steps) > depth + 1}
    deep |= {top for top, whole in tops.items() if whole in {*described}}
    named = split_folders(sorted(tops), deep, place)
    if not named:
        _require_plain_names(paths, place)
    elif above := [name for name in described if len(_steps(name)) <= depth]:
        raise DataError(
            f"{place}: metadata in {some(name or '.' for name in above)} lies above the split "
            f"folders {some(tops)}: put its rows into a file in each of them"
        )
    for path in paths:
        steps = folders[where[path]]
        part = named[steps[depth]] if named and steps else "train"
        parts.setdefault(part, []).append(Placed(path, steps[depth + bool(named) :]))
    return parts


def split_folders(tops: Sequence[str], deep: set[str], place: str) -> dict[str, Role]:
    """Which folder is which split; none where they are classes. `deep` ones have subfolders."""
    spoken = {top: roles(top) for top in tops}
    speaking = {top for top, found in spoken.items() if found}
    if not speaking or (speaking < {*tops} and not speaking & deep):
        return {}
    if unknown := [top for top in tops if top not in speaking]:
        raise DataError(
            f"{place}: {some(unknown)}, beside {some(sorted(speaking))}, is not plainly a split "
            f"or a class: move it away, or {CHOOSE}"
        )
    named: dict[str, Role] = {}
    for top, found in spoken.items():
        if len(found) > 1:
            raise DataError(f"{place}: {top} speaks of {' and '.join(sorted(found))}: {CHOOSE}")
        (part,) = found
        if part in named.values():
            first = next(other for other, own in named.items() if own == part)
            raise DataError(f"{place}: {first} and {top} are each a {part} split: {CHOOSE}")
        named[top] = part
    return named


def class_names(
    parts: Mapping[Role, Sequence[Placed]], empty: Iterable[str], place: str
) -> tuple[dict[Role, list[str]], list[str]]:
    """The class of each image, by split, "" for those in no class, and the names of all classes.

    A split whose images lie in one folder that is no class of train has no labels. Folders of
    `empty`, which hold nothing, are classes too where the others lie.
    """
    folders = {part: {own.below for own in placed if own.below} for part, placed in parts.items()}
    depths = _depths(folders)
    inner = {part: {steps[depths[part] :] for steps in own} for part, own in folders.items()}
    for own in inner.values():
        _require_one_depth(own, place)
    _require_one_reading(set().union(*inner.values()), place)
    known = {steps[0] for steps in inner.get("train", ())}
    labels: dict[Role, list[str]] = {}
    holders: set[Steps] = set()
    for part, placed in parts.items():
        depth = depths[part]
        labels[part] = ["".join(own.below[depth : depth + 1]) for own in placed]
        holders |= {_holder(own, depth) for own in placed if own.below}
        if part != "train" and len({*labels[part]}) == 1 and not known & {*labels[part]}:
            labels[part] = [""] * len(placed)
    named = {name for own in labels.values() for name in own if name}
    named |= {steps[-1] for steps in map(_steps, empty) if steps[:-1] in (holders or {()})}
    return labels, sorted(named)


def _depths(folders: Mapping[Role, set[Steps]]) -> dict[Role, int]:
    """Below how many folders the classes lie: as many as in train, where these are its classes."""
    own = {part: _shared([*steps], stop=False) for part, steps in folders.items()}
    train = own.get("train", 0)
    known = {steps[train] for steps in folders.get("train", ())}
    return {
        part: train
        if known & {name for s in steps for name in s[train : train + 1]}
        else own[part]
        for part, steps in folders.items()
    }


def _holder(placed: Placed, depth: int) -> Steps:
    """The folders that the class folder of an image lies in."""
    above = _steps(placed.path)[: -1 - len(placed.below)]
    return above + placed.below[:depth]


def _require_one_depth(folders: Iterable[Steps], place: str) -> None:
    """Refuse a split with images in folders of classes and in folders within them."""
    by_depth = sorted(folders, key=len)
    if by_depth and len(by_depth[0]) < len(by_depth[-1]):
        flat, deep = ("/".join(steps) for steps in (by_depth[0], by_depth[-1]))
        raise DataError(
            f"{place}: images lie in {flat} and deeper, in {deep}: put the images of each class "
            "into one folder, and what is no class (masks, other sizes) elsewhere"
        )


def _require_one_reading(folders: Iterable[Steps], place: str) -> None:
    """Refuse images that all lie two folders deep, in inner folders of several names."""
    folders = [*folders]
    outer, inner = {steps[0] for steps in folders}, {steps[-1] for steps in folders}
    if min(map(len, folders), default=0) < 2 or len(inner) == 1:
        return
    if all(map(roles, inner)):
        raise DataError(
            f"{place}: the folders of splits ({some(sorted(inner))}) lie in those of classes "
            f"({some(sorted(outer))}): {CHOOSE}"
        )
    raise DataError(
        f"{place}: images lie two folders deep, so that the classes may be {some(sorted(outer))} "
        f"or {some(sorted(inner))}: give one of the outer folders, or put the images of each "
        "class into one folder"
    )


def _require_plain_names(paths: Iterable[str], place: str) -> None:
    """Refuse images that are all called after a split, but not all after train."""
    found: set[Role] = set()
    for path in paths:
        own = roles(path.rpartition("/")[2])
        if not own:
            return
        found |= own
    if found - {"train"}:
        raise DataError(
            f"{place}: the names of the images speak of {' and '.join(sorted(found))}: {CHOOSE}"
        )


def _require_different(folders: Mapping[str, Steps], place: str) -> None:
    first: dict[Steps, str] = {}
    for name, steps in folders.items():
        other = first.setdefault(steps, name)
        if other != name:
            raise DataError(
                f"{place}: the folders {brief(other)} and {brief(name)} differ in spaces alone: "
                "put their images into one"
            )


def _shared(folders: Sequence[Steps], *, stop: bool = True) -> int:
    """How many outer folders all share while others follow; `stop` before a split's name."""
    shared = 0
    while (
        folders
        and all(len(steps) > shared + 1 for steps in folders)
        and len({steps[shared] for steps in folders}) == 1
        and not (stop and roles(folders[0][shared]))
    ):
        shared += 1
    return shared


def _steps(path: str) -> Steps:
    """The folders of a path, without spaces around their names."""
    return tuple(step.strip() for step in path.split("/")) if path else ()
