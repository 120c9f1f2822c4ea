"""The settings with which a client uses a local Hub and nothing else."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

SETTINGS = ("huggingface_hub.constants", "datasets.config")  # modules that read the environment
_PLAIN = (str, bool, int, Path, frozenset, type(None))


def environment(endpoint: str, home: Path, token: str) -> dict[str, str]:
    """Variables for a new process; "" and "0" undo what the surrounding process may have set."""
    return {
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": token,
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_ASSETS_CACHE": str(home / "assets"),
        "HF_XET_CACHE": str(home / "xet"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_DATASETS_CACHE": str(home / "datasets"),
        "HF_MODULES_CACHE": str(home / "modules"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "TRANSFORMERS_OFFLINE": "0",
        "HUGGINGFACE_CO_STAGING": "0",
        "HF_OIDC_RESOURCE": "",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


@contextlib.contextmanager
def using(variables: Mapping[str, str]) -> Iterator[None]:
    """Give the clients in this process another environment, and restore everything.

    They read their environment once, when they are imported. So their settings are read again
    and what differs is changed, also in the modules that have copied it.
    """
    from huggingface_hub import hf_api

    before, endpoint = dict(os.environ), hf_api.api.endpoint
    known = [sys.modules[name] for name in SETTINGS if name in sys.modules]
    os.environ.update(variables)
    changes = [change for module in known for change in _read_again(module)]
    hf_api.api.endpoint = variables["HF_ENDPOINT"]
    _forget()
    try:
        yield
    finally:
        _forget()
        hf_api.api.endpoint = endpoint
        os.environ.clear()
        os.environ.update(before)
        for package, name, old, new in changes:
            _apply(package, name, new, old)
        for name in SETTINGS:
            if name in sys.modules and sys.modules[name] not in known:
                _read_again(sys.modules[name])


def _read_again(module: ModuleType) -> list[tuple[str, str, object, object]]:
    """Bring the settings of a package up to date with the environment."""
    if module.__spec__ is None or module.__spec__.origin is None:
        return []
    spec = importlib.util.spec_from_file_location("settings", module.__spec__.origin)
    assert spec is not None
    assert spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    package = module.__name__.partition(".")[0]
    changes: list[tuple[str, str, object, object]] = [
        (package, name, old, vars(fresh)[name])
        for name, old in vars(module).items()
        if isinstance(old, _PLAIN) and not name.startswith("__")
        if vars(fresh).get(name, old) != old
    ]
    for change in changes:
        _apply(*change)
    return changes


def _apply(package: str, name: str, old: object, new: object) -> None:
    """Change a setting in all modules of a package that hold it under its name."""
    for path, module in sys.modules.copy().items():  # imports of other threads change it
        if path.partition(".")[0] == package and vars(module).get(name, new) == old:
            setattr(module, name, new)


def _forget() -> None:
    """Close the connections of the client, and drop what it has seen of another Hub."""
    from huggingface_hub import HfFileSystem, close_session

    close_session()
    HfFileSystem.clear_instance_cache()
