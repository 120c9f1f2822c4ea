"""Old spellings of the public API: each warns, and goes on for one minor version."""

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def warn(old: str, new: str, *, stacklevel: int = 2) -> None:
    """Say once for each place in the caller's code that `old` is now `new`."""
    text = f"{old} is now {new}; the old spelling goes away in the next minor version"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel + 1)


def renamed(
    *, convert: Mapping[str, Callable[[Any], Any]] | None = None, **new_names: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take keyword arguments by their old names, in this order.

    An old name that has another meaning now has the old one only where the argument that it became
    is missing: `evaluate(data="digits-ipc4")` names a set, `evaluate("digits-ipc4", data=path)`
    real images. `convert` has functions that bring values of old names to what is taken now.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        names = [name for name, each in parameters.items() if each.kind is not each.VAR_KEYWORD]
        takes_any = len(names) < len(parameters)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = kwargs
            for old, new in new_names.items():
                filled = new in given or new in names[: len(args)]
                if old not in given or (filled and (takes_any or old in names)):
                    continue
                if filled:
                    raise TypeError(f"{function.__qualname__}() got both {old}= and {new}=")
                warn(f"{function.__qualname__}({old}=)", f"{new}=")
                value = given.pop(old)
                given[new] = convert[old](value) if convert and old in convert else value
            return function(*args, **given)

        return call

    return decorate


def keyword_only(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take its first keyword-only argument by position, as it once did."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        kinds = [each.kind for each in inspect.signature(function).parameters.values()]
        most = kinds.index(inspect.Parameter.KEYWORD_ONLY)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            given: dict[str, Any] = kwargs
            if len(args) == most + 1 and name not in given:
                warn(f"{function.__qualname__} with {name} by position", f"{name}=")
                given[name], args = args[-1], args[:-1]  # type: ignore[assignment]
            return function(*args, **given)

        return call

    return decorate


def moved(module: str, **places: str) -> Callable[[str], Any]:
    """The `__getattr__` of a module whose old names are now `package.module:name`."""

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        place, _, new = places[name].partition(":")
        warn(f"{module}.{name}", f"{place}.{new}")
        return getattr(importlib.import_module(place), new)

    return find
