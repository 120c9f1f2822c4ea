"""Imports go down and never in circles; what is heavy is imported when it is needed."""

import ast
import importlib.machinery
import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import d3data

ROOT = Path(d3data.__file__).parent
SCRIPT = str(ROOT.parent / "scripts" / "rooms")

ONE_OWNER = {
    "datasets": {"images.formats.hub_datasets"},
    "huggingface_hub": {"hub.client", "testing.client"},
    "jinja2": {"utils.templates"},
    "webdataset": {"images.formats.webdataset"},
}
LAZY = {
    "datasets",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "pyarrow",
    "ruamel",
    "scipy",
    "sklearn",
    "timm",
    "torchvision",
    "webdataset",
}


@pytest.fixture(scope="module")
def rooms():
    """The script that draws the rooms."""
    loader = importlib.machinery.SourceFileLoader("rooms", SCRIPT)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("rooms", loader))
    loader.exec_module(module)
    return module


def test_imports_go_down(rooms):
    assert rooms.rising(rooms.graph()) == []


def test_no_modules_import_each_other(rooms):
    assert rooms.circles(rooms.graph()) == []


def test_planted_faults_are_found(rooms, tmp_path):
    package = tmp_path / "d3data"
    files = {
        "__init__.py": "",
        "utils/text.py": "def late():\n    from d3data.images import png",
        "images/png.py": "import d3data.images.tasks",
        "images/tasks.py": "from d3data.images.spec import Image",
        "images/spec.py": "def late():\n    from d3data.images import png",
        "cli/app.py": "from d3data import images",
    }
    for path, text in files.items():
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text(text)
    found = rooms.graph(package)
    assert rooms.rising(found) == [
        "d3data.cli.app -> d3data",
        "d3data.utils.text -> d3data.images.png",
    ]
    assert rooms.circles(found) == [
        [f"d3data.images.{name}" for name in ("png", "tasks", "spec", "png")]
    ]


def test_every_room_has_its_layer_and_there_are_few(rooms):
    named = {name for names in rooms.LAYERS for name in names}
    entries = {path.name for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert {entry.removesuffix(".py") for entry in entries} - named == {
        "__init__",
        "py.typed",
        "zoo",
    }
    assert len(entries) <= 20


def test_the_picture_of_the_rooms_is_current(rooms):
    page = rooms.PAGE.read_text(encoding="utf-8")
    assert page == rooms.drawn(page, rooms.picture(rooms.graph())), "run: python scripts/rooms"


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The libraries that these nodes import."""
    nodes = list(nodes)
    names = {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def tops(path: Path) -> set[str]:
    """The libraries that a file imports at its top level."""
    return imported(ast.parse(path.read_text(encoding="utf-8")).body)


def test_nothing_heavy_is_imported_at_the_top():
    assert [str(path) for path in ROOT.rglob("*.py") if tops(path) & LAZY] == []


@pytest.mark.parametrize("library", ONE_OWNER)
def test_a_heavy_library_has_one_owner(library):
    owners = set()
    for path in ROOT.rglob("*.py"):
        if library in imported(ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
            owners.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    assert owners == ONE_OWNER[library]


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*{{n.partition('.')[0] for n in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_importing_d3data_is_light():
    assert not loaded_by("import d3data") & (LAZY | {"torch"})


def test_importing_everything_public_is_lighter_than_it_could_be():
    loaded = loaded_by("import d3data; [getattr(d3data, name) for name in d3data.__all__]")
    assert not loaded & (LAZY - {"torchvision", "sklearn", "scipy", "pyarrow"})


def test_nobody_outside_sources_asks_for_the_kind_of_a_source():
    """What is known of a kind of source stands on its class."""
    asked = []
    for path in ROOT.rglob("*.py"):
        if "sources" in path.parts or "starts" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(node) if isinstance(node, ast.Call | ast.Compare) else ""
            kinds = "GaussianS", "GeneratorS", "PixelsS", "SpatialS"
            if text.startswith("isinstance(") and any(kind in text for kind in kinds):
                asked.append(f"{path}: {text}")
            if isinstance(node, ast.Compare) and "source.kind" in text:
                asked.append(f"{path}: {text}")
    assert asked == []
