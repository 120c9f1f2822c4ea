"""The public API: its names, what they take, and the old spellings that still work."""

import ast
import importlib.machinery
import importlib.util
import inspect
import pkgutil
import re
import subprocess
import sys
import types
import typing
import warnings
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import d3data
from d3data import nets
from d3data.cli import completion
from d3data.cli.commands import app
from d3data.data.dataset import DistilledDataset
from d3data.data.device_loader import DecodingLoader
from d3data.data.epochs import EpochSampler
from d3data.errors import D3DataError
from d3data.utils.progress import Progress, ReportProgress
from d3data.utils.renamed import keyword_only, moved, renamed

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
SCRIPTS = [*(ROOT / "examples").glob("*.py")]
FILES = {"d3data.json", "d3data.schema.json"}
PACKAGES = [name for name in d3data.__all__ if isinstance(getattr(d3data, name), types.ModuleType)]


def public():
    """Every public name, dotted, and what it stands for."""
    for name in d3data.__all__:
        found = getattr(d3data, name)
        yield f"d3data.{name}", found
        if name in PACKAGES:
            yield from (
                (f"d3data.{name}.{inner}", getattr(found, inner)) for inner in found.__all__
            )


FUNCTIONS = {
    name: found
    for name, found in public()
    if inspect.isfunction(found) or (inspect.isclass(found) and "__init__" in vars(found))
}


def test_completion_shows_the_public_names_alone():
    assert dir(d3data) == d3data.__all__ == sorted(d3data.__all__)


def test_the_page_of_public_names_is_current():
    loader = importlib.machinery.SourceFileLoader("api", str(ROOT / "scripts" / "api"))
    script = importlib.util.module_from_spec(importlib.util.spec_from_loader("api", loader))
    loader.exec_module(script)
    page = script.PAGE.read_text(encoding="utf-8")
    assert page == script.drawn(page), "run: python scripts/api"
    for path, text in script.reference().items():
        assert path.read_text(encoding="utf-8") == text, "run: python scripts/api"
    assert [name for name, _ in public() if f"`{name}`" not in page] == []
    assert re.findall(r"^\| `(.*)` \| +\|$", page, re.MULTILINE) == []  # each says what it is


def test_dotted_names_resolve_after_importing_d3data_alone():
    names = {
        name
        for page in [*PAGES, *SCRIPTS]
        for name in re.findall(
            r"(?<![\w/.:-])d3data(?:\.[A-Za-z_]\w*)+", page.read_text(encoding="utf-8")
        )
    } - FILES
    assert len(names) > 20
    code = (
        "import sys, functools, d3data\n"
        "assert 'torch' not in sys.modules\n"
        "for name in sys.argv[1:]: functools.reduce(getattr, name.split('.')[1:], d3data)"
    )
    command = [sys.executable, "-c", code, *sorted(names)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_type_checkers_know_all_names_and_no_others():
    tree = ast.parse(Path(d3data.__file__).read_text(encoding="utf-8"))
    (switch,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(switch.test) == "TYPE_CHECKING"
    seen = {
        alias.asname or alias.name
        for node in switch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {*d3data.__all__} - {"__version__"}
    outside = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [node.name for node in outside] == ["__dir__"]


def test_what_is_misspelt_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        getattr(d3data, "lod")  # noqa: B009
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        getattr(nets, "lod")  # noqa: B009


def test_no_name_hides_a_module():
    hidden = []
    for module in pkgutil.walk_packages(d3data.__path__, "d3data."):
        package, _, name = module.name.rpartition(".")
        if module.name == "d3data.__main__":
            continue
        found = importlib.import_module(module.name)
        if getattr(importlib.import_module(package), name) is not found:
            hidden.append(module.name)
    assert hidden == []


@pytest.mark.parametrize(
    "verb",
    [
        "evaluate",
        "audit",
        "export",
        "publish",
        "quantize",
        "info",
        "cards.card",
        "evaluation.plan",
    ],
)
def test_what_a_verb_takes_is_one_union(verb):
    function = FUNCTIONS[f"d3data.{verb}"]
    first, *_ = inspect.signature(function).parameters
    assert first == "dataset"
    union = typing.get_type_hints(inspect.unwrap(function))["dataset"]
    taken = {typing.get_origin(each) or each for each in typing.get_args(union)}
    assert taken >= {DistilledDataset, d3data.artifact.Artifact, str, Path}


def test_arguments_of_a_name_have_one_meaning():
    kinds: dict[str, dict[str, str]] = {}
    for name, function in FUNCTIONS.items():
        hints = typing.get_type_hints(getattr(function, "__init__", function))
        hints = hints if inspect.isclass(function) else typing.get_type_hints(function)
        for argument in ("device", "progress", "data_path", "tell", "ranks", "folder"):
            if argument in hints:
                kinds.setdefault(argument, {})[name] = hints[argument]
    del kinds["device"]["d3data.distill.ObjectiveContext"]  # it is given one
    assert {*kinds["device"].values()} <= {str | torch.device, str | torch.device | None}
    assert {*kinds["progress"].values()} == {ReportProgress}
    assert not kinds.keys() & {"data_path", "tell", "ranks"}


def test_lists_are_lists_and_what_they_name_can_be_got():
    pairs = [
        (nets.list_networks, nets.get_network),
        (d3data.evaluation.list_protocols, d3data.evaluation.get_protocol),
        (d3data.evaluation.list_baselines, d3data.evaluation.get_baseline),
        (d3data.distill.list_objectives, d3data.distill.get_objective),
        (d3data.distill.list_recipes, d3data.distill.get_recipe),
    ]
    for names, get in pairs:
        assert isinstance(names(), list)
        assert all(get(name) is not None for name in names())
        with pytest.raises(d3data.errors.D3DataError, match="unknown"):
            get("xyzzy")
    assert "digits-ipc4" in d3data.list_sets("digits*")


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("info digits", {"digits-ipc10", "digits-ipc4"}),
        ("recipes show digits-ipc4", {"digits-ipc4"}),
        ("distill digits-ipc4", {"digits-ipc4"}),
        ("evaluate digits-ipc4 --protocol qui", {"quick"}),
    ],
)
def test_a_shell_completes_names(typed, wanted):
    environment = {"_D3DATA_COMPLETE": "complete_bash", "COMP_WORDS": f"d3data {typed}"}
    environment["COMP_CWORD"] = str(len(typed.split()))
    found = CliRunner().invoke(app, prog_name="d3data", env=environment)
    assert {*found.stdout.split()} == wanted


def test_completion_knows_all_names():
    assert completion.sets("") == d3data.list_sets()
    assert completion.recipes("") == d3data.distill.list_recipes()
    assert completion.protocols("") == sorted(d3data.evaluation.list_protocols())


def test_it_runs_as_a_module():
    command = [sys.executable, "-m", "d3data", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == d3data.__version__


def old(call, match):
    """What a call in an old spelling returns, which warns once."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            found = call()
    (one,) = told
    assert one.category is DeprecationWarning
    assert match in str(one.message)
    assert one.filename == __file__
    return found


def test_old_names_warn_once_and_go_on():
    assert old(lambda: d3data.distill.load_recipe, "get_recipe") is d3data.distill.get_recipe
    assert old(lambda: d3data.distill.recipe_names, "list_recipes") is d3data.distill.list_recipes
    assert old(lambda: nets.names, "list_networks") is nets.list_networks
    protocols = importlib.import_module("d3data.evaluation.protocols")
    assert old(lambda: protocols.named, "get_protocol") is d3data.evaluation.get_protocol
    baselines = importlib.import_module("d3data.evaluation.baselines")
    assert old(lambda: baselines.named, "get_baseline") is d3data.evaluation.get_baseline
    assert moved("m", a="d3data.nets:build") is not None


def test_old_arguments_warn_once_and_go_on():
    data = d3data.load("digits-ipc4", output="float")
    sampler = old(lambda: EpochSampler(range(4), rank=1, ranks=2), "num_replicas=")
    assert (sampler.num_replicas, old(lambda: sampler.ranks, "num_replicas")) == (2, 2)
    state = {
        "ranks" if key == "num_replicas" else key: n for key, n in sampler.state_dict().items()
    }
    sampler.load_state_dict(state)
    assert old(lambda: DecodingLoader(data, 8, "cpu"), "device=").device == torch.device("cpu")
    step = Progress("distill", 1, 2)
    assert old(lambda: step.what, "event") == "progress"
    assert old(lambda: step.progress, "record itself") is step
    assert (old(lambda: step.done, "step"), old(lambda: step.total, "steps")) == (1, 2)


@renamed(data="dataset", data_path="data", convert={"data_path": str.upper})
def judge(dataset, task=None, *, data=None):
    """A verb that once took the set as `data` and the real images as `data_path`."""
    return dataset, task, data


def test_an_old_name_with_a_new_meaning_has_the_old_one_where_that_alone_is_possible():
    assert judge("set", data="images") == ("set", None, "images")
    assert judge(dataset="set", data="images") == ("set", None, "images")
    assert old(lambda: judge(data="set"), "dataset=") == ("set", None, None)
    assert old(lambda: judge("set", data_path="x"), "data=") == ("set", None, "X")
    with pytest.warns(DeprecationWarning, match="is now") as told:
        assert judge(data="set", data_path="x") == ("set", None, "X")
    assert len(told) == 2
    with pytest.raises(TypeError, match="both data_path= and data="):
        judge("set", data="images", data_path="x")
    assert list(inspect.signature(judge).parameters) == ["dataset", "task", "data"]


@pytest.mark.parametrize("verb", [d3data.evaluate, d3data.audit, d3data.evaluation.plan])
def test_verbs_warn_where_they_are_called(verb):
    def refused():
        with pytest.raises(D3DataError):
            verb(data="no-such-set")

    old(refused, "dataset=")


def test_what_was_taken_by_position_is_taken_so_for_a_while():
    @keyword_only("device")
    def make(size, *, device, shuffle=True):
        return size, device, shuffle

    assert old(lambda: make(1, "cpu"), "device=") == (1, "cpu", True)
    assert make(1, device="cpu", shuffle=False) == (1, "cpu", False)
    with pytest.raises(TypeError, match="positional"):
        make(1, "cpu", False)
