"""Which split, and which class, a file is of by its path: one rule for all formats.

A name speaks of a split when one of `WORDS` stands in it between other signs than letters, as in
`seg_train`, `val2017` or `test-00000-of-00002.parquet`. What speaks of two splits, two names for
one split, and a name that speaks of none beside others that do are refused: then the user says
which are meant, with `splits`, a pattern of names for each split; `.` is all of the place.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Literal

from d3data.errors import DataError
from d3data.utils.text import counted, some

Role = Literal["train", "validation", "test"]
Splits = Mapping[Role, str]
ROLES: tuple[Role, ...] = ("train", "validation", "test")
WORDS: dict[Role, tuple[str, ...]] = {  # those of `datasets`
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
CHOOSE = (
    "say which are meant, `--split train=NAME --split test=NAME` (train=. is all of them), or "
    'splits = {train = "NAME", test = "NAME"} in the recipe\'s [task]'
)

_END = r"(?:set|data|images|split)?s?(?![a-z])"
_ROLES = {
    part: re.compile(f"(?<![a-z])(?:{'|'.join(words)}){_END}") for part, words in WORDS.items()
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LIKE_MASK = re.compile("mask|seg|gt|groundtruth|annotation|depth|matte", re.IGNORECASE)
_MASKS = "(?:mask|masks|seg|segmentation|gt|groundtruth|annotation|depth|matte)"
_MASK = re.compile(
    rf"(?P<image>.+)[^a-z0-9/]{_MASKS}[^a-z0-9/]?[0-9]*|"
    rf"(?P<folder>.*/|){_MASKS}[^a-z0-9/](?P<name>[^/]+)",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"-(\d{5})-of-(\d{5})")
_TRUTHS = {"True", "False", "0", "1"}
_OWN_SHARD = re.compile(r"shard-\d+\.tar")  # as exports call the shards of train


def roles(name: str) -> set[Role]:
    """The splits that a name speaks of.

    >>> sorted(roles("train-00000-of-00002")), sorted(roles("testB")), sorted(roles("trainer"))
    (['train'], ['test'], [])
    """
    text = low(name).replace("trainval", "train_val")
    return {part for part, words in _ROLES.items() if words.search(text)}


def low(name: str) -> str:
    """A name in small letters, with a sign where a capital began a word: `trainX` -> `train_x`."""
    return _HUMP.sub("_", name).lower()


def require_no_masks(names: Iterable[str], place: str) -> None:
    """Refuse images `0_mask.png` beside `0.png`, by their names without suffixes."""
    there = {*names}
    pairs = [
        (found["image"] or f"{found['folder']}{found['name']}", name)
        for name in sorted(filter(_LIKE_MASK.search, there))
        if (found := _MASK.fullmatch(name))
    ]
    if masks := [(image, name) for image, name in pairs if image in there]:
        (image, mask), count = masks[0], len(masks)
        raise DataError(
            f"{place}: {mask}, beside {image}, is no photograph by its name, nor may "
            f"{counted(count, 'image')} be: move them away, or, if all are meant, "
            "`--split train=.`"
        )


def role(name: str) -> Role | None:
    """The one split that a name speaks of; None where it speaks of none, or of two."""
    found = roles(name)
    return found.pop() if len(found) == 1 else None


def by_name(names: Iterable[str], place: str, splits: Splits | None = None) -> dict[Role, str]:
    """Which of the names of splits, as `datasets` has them, is which split."""
    named: dict[Role, list[str]] = chosen_names(names, splits, place) if splits else {}
    if not splits:
        for name in names:
            named.setdefault(_only(name, place), []).append(name)
    for part, own in named.items():
        if len(own) > 1:
            raise DataError(f"{place}: {some(own)} are each a {part} split: {CHOOSE}")
    return {part: own[0] for part, own in named.items()}


def by_rows(
    values: Mapping[Role, Sequence[str]], column: str, place: str, splits: Splits | None
) -> dict[Role, list[int]] | None:
    """The rows of each split where a column tells them apart, or None where files do.

    `values` are those of the column in each split that files are of. It decides where all files
    are of train; elsewhere it must not contradict them.
    """
    where = f"{place}, column {column}"
    there = {part: dict.fromkeys(own) for part, own in values.items() if own}
    if {*there} != {"train"}:
        for part, names in there.items():
            if other := [name for name in names if roles(name) - {part}]:
                raise DataError(f"{where} has {some(other)} in files of {part}: {CHOOSE}")
        return None
    names = there["train"]
    spoken = set().union(*map(roles, names))
    one = len(names) == 1 and spoken <= {"train"}
    asked = column.lower() == "split" or (roles(column) and {*names} <= _TRUTHS)
    if not splits and (one or not (spoken or asked)):
        return None
    if "" in names:
        raise DataError(f"{where} has rows without a split: fill them in, or {CHOOSE}")
    part_of = {name: part for part, name in by_name(names, where, splits).items()}
    rows: dict[Role, list[int]] = {}
    for row, name in enumerate(values["train"]):
        if name in part_of:
            rows.setdefault(part_of[name], []).append(row)
    return rows


def are_met(splits: Splits, names: Iterable[str]) -> bool:
    """Whether each of these patterns is met by one of the names."""
    names = [*names]
    return all(
        any(matched_level(name, pattern) is not None for name in names)
        for pattern in splits.values()
    )


def _only(name: str, place: str) -> Role:
    part = role(name)
    if part is None:
        raise DataError(
            f"{place}: {name} is not plainly a train, validation or test split: {CHOOSE}"
        )
    return part


def by_role(
    files: Sequence[str], place: str, splits: Splits | None = None
) -> dict[Role, list[str]]:
    """Tables or shards, by the split that their names and folders speak of; train if none does.

    Of files that are numbered, as `-00000-of-00002`, none may be missing, unless the place is one.
    """
    if splits:
        return chosen_names(files, splits, place)
    if place.rpartition("/")[2] not in files:
        _require_all_parts(files, place)
    spoken = {file: roles(file) for file in files}
    if two := [file for file, found in spoken.items() if len(found) > 1]:
        raise DataError(f"{place}: names that speak of two splits: {some(two)}; {CHOOSE}")
    unknown = [f for f, found in spoken.items() if not found and not _OWN_SHARD.fullmatch(f)]
    if unknown and any(spoken.values()):
        raise DataError(
            f"{place}: {some(unknown)} speak of no split, as others do: move them, or {CHOOSE}"
        )
    parts: dict[Role, list[str]] = {}
    for file, found in spoken.items():
        parts.setdefault(found.pop() if found else "train", []).append(file)
    if not unknown:
        for part, own in parts.items():
            stems = {_stem(file): file for file in reversed(own)}
            if len(stems) > 1:
                two_names = some(sorted(stems.values()), at_most=2)
                raise DataError(f"{place}: {two_names} are each a {part} split: {CHOOSE}")
    return parts


def _require_all_parts(files: Iterable[str], place: str) -> None:
    there: dict[tuple[str, int], set[int]] = {}
    for file in files:
        if number := _NUMBERED.search(file):
            whole = f"{file[: number.start()]}-{{:05d}}-of-{number[2]}{file[number.end() :]}"
            there.setdefault((whole, int(number[2])), set()).add(int(number[1]))
    for (name, count), numbers in there.items():
        first = 0 if 0 in numbers else 1  # some count from 1 on
        if missing := sorted({*range(first, first + count)} - numbers):
            lost = some((name.format(number) for number in missing), at_most=2)
            raise DataError(
                f"{place}: {lost} is missing: fetch it, or, if the others are all that is meant, "
                f"{CHOOSE}"
            )


def several(files: Iterable[str]) -> str:
    """A note of which files were taken together, where they are called differently."""
    stems = {_stem(file): file for file in files}
    return f"files: {some(stems.values())}" if len(stems) > 1 else ""


def _stem(file: str) -> str:
    """What the files of one split have in common: all but their numbers."""
    whole = _NUMBERED.sub("", file)
    return re.sub(r"\d+", "0", file) if whole == file else whole


def chosen_names(names: Iterable[str], splits: Splits, place: str) -> dict[Role, list[str]]:
    """The names that the patterns choose: whole paths, or names of files or folders in them."""
    names = list(names)
    parts: dict[Role, list[str]] = {part: [] for part in splits}
    for name in names:
        levels = {part: matched_level(name, pattern) for part, pattern in splits.items()}
        found = [part for part, level in levels.items() if level is not None]
        if len(found) > 1:
            raise DataError(f"{place}: {name} is chosen as {' and '.join(found)}: choose it once")
        for part in found:
            parts[part].append(name)
    for part, own in parts.items():
        if not own:
            tops = dict.fromkeys(name.split("/")[0] for name in names)
            raise DataError(
                f"{place}: nothing matches the {part} split {splits[part]!r}; there are "
                f"{some(tops)}"
            )
    return parts


def matched_level(path: str, pattern: str) -> int | None:
    """After how many steps of a path a pattern is met: by these steps, or by the last of them."""
    if pattern == ".":
        return 0
    steps = path.split("/")
    leading = accumulate(steps, "{}/{}".format)
    for level, (whole, own) in enumerate(zip(leading, steps, strict=True), 1):
        if fnmatchcase(whole, pattern) or fnmatchcase(own, pattern):
            return level
    return None
