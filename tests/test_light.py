"""What runs where only the nine packages are that loading needs; what the others are called."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import d3data
import made
from d3data.errors import MissingPackageError
from d3data.utils.packages import OPTIONAL, naming_packages

ROOT = Path(__file__).parent.parent
NINE = {
    "huggingface-hub",
    "numpy",
    "packaging",
    "pillow",
    "pydantic",
    "rfc8785",
    "safetensors",
    "torch",
    "torchvision",
}
# of the others, what comes with the nine
COMES_ALONG = {"filelock", "jinja2", "pyyaml"}
COMMANDS = {"rich", "typer"}

# runs the code of its last argument where the modules of the first are not installed
WITHOUT = """
import sys
from importlib.machinery import PathFinder

missing = sys.argv[1].split(",")
find_spec = PathFinder.find_spec
PathFinder.find_spec = staticmethod(
    lambda name, *more: None if name.partition(".")[0] in missing else find_spec(name, *more)
)
exec(sys.argv[2], {"folder": sys.argv[3]})
"""

LOADING = """
import d3data
from torch.utils.data import DataLoader

for name in ("digits-ipc4", folder):
    for output in ("image", "pil", "float", "normalized"):
        data = d3data.load(name, output=output)
        batch = data[0] if output == "pil" else next(iter(DataLoader(data, 4)))
        assert len(batch) == 2
    print(d3data.info(data).name, d3data.pull(name))
    d3data.artifact.read(d3data.pull(name)).check()
    next(iter(d3data.DecodingLoader(data, 4, device="cpu")))
assert "digits-ipc4" in d3data.list_sets()
"""


def dependencies():
    """The packages that d3data depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {line.partition(">")[0] for line in project["dependencies"]}


def modules(packages):
    """The modules of these packages, for `WITHOUT`."""
    return ",".join(module for module, package in OPTIONAL.items() if package in packages)


def without(packages, code, folder=""):
    """Run code where these packages are not installed."""
    command = [sys.executable, "-c", WITHOUT, modules(packages), code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_every_package_that_may_be_missing_has_its_name():
    bare = {
        "numpy",
        "packaging",
        "pydantic",
        "rfc8785",
        "safetensors",
        "torch",
        "typing-extensions",
    }
    assert {*OPTIONAL.values()} == dependencies() - bare


def test_the_line_for_a_light_environment_has_the_nine_and_typer():
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^pip install (torch torchvision numpy .*)$", page, re.MULTILINE)
    assert {*line.split()} == NINE | {"typer"}


def test_loading_needs_the_nine_alone(tmp_path):
    made.write(tmp_path / "toys")
    ended = without(dependencies() - NINE - COMES_ALONG, LOADING, tmp_path / "toys")
    assert ended.returncode == 0, ended.stderr


COMMAND_LINES = """
import sys
import d3data.cli

for line in (
    "verify digits-ipc4",
    "distill digits-ipc4 --out run",
    "export digits-ipc4 --format parquet --out out",
):
    sys.argv = ["d3data", *line.split()]
    try:
        d3data.cli.main()
    except SystemExit as end:
        print("ended with", end.code, file=sys.stderr)
"""


def test_commands_name_the_package_that_they_lack(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = without(dependencies() - NINE - COMES_ALONG - COMMANDS, COMMAND_LINES)
    verified, distill, distilled, export, exported = ended.stderr.splitlines()
    assert verified == "ended with 0"
    assert distilled == exported == "ended with 1"
    assert "`pip install tomli-w`" in distill
    assert "`pip install pyarrow`" in export


def test_without_typer_the_command_says_so():
    ended = without({"typer"}, "import d3data.cli as c; c.main()")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "`pip install typer`" in line


def test_a_function_names_the_package_that_it_lacks():
    code = (
        "import d3data\n"
        "data = d3data.load('digits-ipc4')\n"
        "try: data.to_hf(1)\n"
        "except d3data.errors.MissingPackageError as e: print(e)\n"
        "try: d3data.distill\n"
        "except d3data.errors.MissingPackageError as e: print(e)"
    )
    ended = without({"datasets", "tomli-w"}, code)
    assert ended.returncode == 0, ended.stderr
    first, second = ended.stdout.splitlines()
    assert "`pip install datasets`" in first
    assert "`pip install tomli-w`" in second


def test_other_missing_modules_are_told_as_they_are():
    with pytest.raises(ModuleNotFoundError) as failure, naming_packages():
        import no_such_module  # noqa: F401
    assert not isinstance(failure.value, MissingPackageError)


def test_a_system_without_the_needed_calls_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.delattr(os, "O_NOFOLLOW")
    with pytest.raises(d3data.errors.D3DataError, match="POSIX system"):
        d3data.load("digits-ipc4")
