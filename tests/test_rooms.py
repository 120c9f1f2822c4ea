"""Imports go down and never up; what is heavy is imported by one module, when it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import d3data

ROOT = Path(d3data.__file__).parent

# from the ground to the roof; modules of one floor may import each other
FLOORS = [
    {
        "errors",
        "arguments",
        "frozen",
        "rng",
        "files",
        "untrusted",
        "canonical",
        "precision",
        "cookbook",
    },
    {"preprocessing", "tensorfile"},
    {"sources"},
    {"part", "manifest", "folder", "golden", "ledger", "artifact", "drawing", "presentation"},
    {"formats"},
    {"presets", "splits", "partition", "tasks", "inspection"},
    {"augment", "nets", "training", "computing"},
    {"hub", "testing"},
    {"citations", "summary"},
    {"epochs", "dataset", "decoding", "export", "finite", "loading", "quantizing"},
    {"distill"},
    {"converting"},
    {"evaluation"},
    {"cards"},
    {"publishing"},
    {"cli"},
]
ONE_OWNER = {
    "datasets": {"formats.hub_datasets"},
    "huggingface_hub": {"hub.client", "testing.client"},
    "jinja2": {"cards.templates"},
    "webdataset": {"formats.webdataset"},
}
LAZY = {
    "torchvision",
    "datasets",
    "webdataset",
    "huggingface_hub",
    "matplotlib",
    "sklearn",
    "timm",
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(path: Path, *, lazy: bool) -> set[str]:
    """The modules that a file imports: all of them, or only at its top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazy else tree.body
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor(room: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "__init__"])
def test_imports_go_down(module):
    here = floor(module.partition(".")[0])
    for name in imports(MODULES[module], lazy=True):
        package, _, rest = name.partition(".")
        if package == "d3data" and rest.partition(".")[0] != "__version__":
            room = rest.partition(".")[0]
            assert floor(room) <= here, f"{module} reaches up to {name}"


def test_every_room_has_a_floor():
    rooms = {name.partition(".")[0] for name in MODULES} - {"__init__"}
    assert rooms == set().union(*FLOORS)


@pytest.mark.parametrize("library", ONE_OWNER)
def test_a_heavy_library_has_one_owner(library):
    owners = {
        module
        for module, path in MODULES.items()
        for name in imports(path, lazy=True)
        if name.partition(".")[0] == library
    }
    assert owners == ONE_OWNER[library]


@pytest.mark.parametrize("module", MODULES)
def test_nothing_heavy_is_imported_at_the_top(module):
    tops = {name.partition(".")[0] for name in imports(MODULES[module], lazy=False)}
    assert not tops & LAZY


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*{{n.partition('.')[0] for n in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_d3data_is_light():
    loaded = loaded_by("import d3data")
    assert not loaded & (LAZY | {"torch"})


def test_importing_everything_public_is_lighter_than_it_could_be():
    loaded = loaded_by("import d3data; [getattr(d3data, name) for name in d3data.__all__]")
    assert not loaded & (LAZY - {"torchvision", "sklearn"})


def test_the_public_surface_is_complete():
    assert d3data.__all__ == ["__version__", *sorted(d3data.__all__[1:])]
    assert all(hasattr(d3data, name) for name in d3data.__all__)
    assert set(d3data.__all__) <= set(dir(d3data))
