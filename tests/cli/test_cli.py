import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import d3data
import made
import pictures
import tiny_runs as runs
from d3data import artifact
from d3data.cli.commands import app
from d3data.cli.executors import executor_of
from d3data.cli.progress import Display, Lines
from d3data.distill import Ray, Slurm, get_recipe
from d3data.distill.run_status import _command
from d3data.evaluation import EvaluationPlan, protocols
from d3data.nets import NetworkSpec
from d3data.nets.checkpoint import Checkpoint
from d3data.utils import atomic
from d3data.utils.progress import Progress
from d3data.utils.text import table

COMMANDS = """list info preview card init distill status evaluate env export recipes pull verify
publish convert compare protocols audit report quantize merge"""
TINY = {"steps": 2, "network": NetworkSpec(width=4)}


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """One thread, and a quick protocol of two steps."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    quick = protocols.protocols["quick"].model_copy(update=TINY)
    monkeypatch.setitem(protocols.protocols, "quick", quick)


def call(*arguments, code=0):
    """Run a command; its stdout and stderr."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def document(*arguments):
    """The one JSON document that a command gives."""
    stdout, _ = call(*arguments, "--json")
    return json.loads(stdout)


@pytest.fixture(scope="module")
def toml(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(runs.recipe().to_toml())
    return path


@pytest.fixture(scope="module")
def run(toml, tmp_path_factory):
    """A finished run, and what the command said on stderr."""
    out = tmp_path_factory.mktemp("run")
    options = ["--out", out, "--executor", "inline", "--verdict", "0"]
    stdout, stderr = call("distill", toml, *options)
    assert stdout.strip() == str(out / "artifact")
    return out, stderr


def test_help_needs_nothing_heavy():
    code = "import sys, d3data.cli; print({'torch', 'numpy', 'PIL'} & sys.modules.keys())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_every_command_explains_itself():
    stdout, _ = call("--help")
    for command in COMMANDS.split():
        assert command in stdout
        assert "Usage" in call(command, "--help")[0]
    assert call("--version")[0].strip() == d3data.__version__
    spelled = call("convert", "images", "--help")[0]
    assert all(old in spelled for old in ("--licence", "--regularisation"))


def test_tables_show_any_words_as_they_are():
    lines = table(["what", "n"], [["[bold]x :smile:", 1], ["猫", 20]]).splitlines()
    assert lines == ["what              n", "[bold]x :smile:   1", "猫               20"]
    assert table([], [["a", 0.5]]) == "a  0.500"
    assert table(["a"], []) == "a"


def test_distill_tells_what_it_does_on_stderr_only(run):
    out, stderr = run
    assert "1 of 1 jobs to do" in stderr
    assert f"next: d3data preview {out / 'artifact'}; d3data evaluate" in stderr
    assert "verdict" not in stderr
    assert "subtask 000 is done (1 of 1)" in stderr
    again = ["distill", out / "recipe.toml", "--out", out, "--json"]
    stdout, stderr = call(*again, "--verdict", "0")
    assert json.loads(stdout) == {"artifact": str(out / "artifact"), "verdict": None}
    assert "already finished" in stderr


def test_a_dry_run_writes_nothing(toml, tmp_path):
    numbers = document("distill", toml, "--out", tmp_path / "run", "--dry-run", "--set", "steps=5")
    assert (numbers["steps"], numbers["jobs"], numbers["jobs_done"]) == (9, 1, 0)
    assert not (tmp_path / "run").exists()


def test_the_default_folder_is_named_like_the_recipe(toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changed = ["--executor", "inline", "--seed", "8", "--set", "name=mine", "--verdict", "0"]
    folder = call("distill", toml, *changed)[0].strip()
    assert folder == "./runs/mine/artifact"
    assert f"folder      {folder}\n" in call("info", folder)[0]
    made = get_recipe(tmp_path / "runs" / "mine" / "recipe.toml")
    assert made == runs.recipe(name="mine", seed=8)


def test_status_shows_each_subtask(run):
    out, _ = run
    stdout, _ = call("status", out)
    assert "1 of 1 jobs done; finished" in stdout
    assert re.search(r"^000 +10 +done +6/6 ", stdout, re.MULTILINE)
    found = document("status", out)
    assert found["subtasks"][0]["stage"] == "done"
    assert found["artifact"] == str(out / "artifact")


def test_recipes_are_listed_and_shown_and_toml_is_their_fixed_point(toml, tmp_path):
    assert get_recipe(toml).to_toml() == toml.read_text()
    names = document("recipes")
    assert "digits-ipc4" in names
    lines = call("recipes")[0].splitlines()[1:]
    assert [line.split()[0] for line in lines] == names
    told = [get_recipe(name).description for name in names]
    assert all(words in line for words, line in zip(told, lines, strict=True))
    for name in names:
        path = tmp_path / f"{name}.toml"
        path.write_text(call("recipes", "show", name)[0])
        assert get_recipe(path) == get_recipe(name)


def test_list_and_info(tmp_path):
    assert "digits-ipc4" in document("list")
    assert call("list", "no-such-*", "--json", code=1)[0] == ""
    made.write(tmp_path / "toys")
    stdout, _ = call("info", tmp_path / "toys")
    assert stdout.startswith("toys-ipc2 1.2.3\n")
    found = document("info", tmp_path / "toys")
    assert found["manifest"]["content"]["classes"] == list(made.NAMES)
    assert found["ledger"]["published_values"] > 0
    times = artifact.read(tmp_path / "toys").ledger.against["one uint8 image per class"]
    assert re.search(f"against +one uint8 image per class +{times}\n", stdout)
    wrong(1, "digits-ipc4, written without a slash, is a set that comes", "info", "./digits-ipc4")
    (tmp_path / "empty").mkdir()
    wrong(1, "is not a data set of d3data .*d3data init", "info", tmp_path / "empty")


def test_init_writes_a_recipe_that_fits_the_budget(tmp_path):
    images = pictures.image_folder(tmp_path / "my images", count=20)
    out = tmp_path / "own.toml"
    stdout, stderr = call("init", images, "--budget", "12kB", "--out", out)
    assert stdout.strip() == str(out)
    assert "40 images of 2 classes" in stderr
    recipe = get_recipe(out)
    assert recipe.task.data is None
    assert str(tmp_path) not in recipe.to_toml()
    assert (recipe.name, recipe.description) == ("my-images", "2 classes of my-images")
    command = f"d3data distill {out} --data '{images}' --verdict"
    assert f"next: {command}" in stderr
    said = out.read_text()
    assert f"# Made by d3data init '{images}' --budget 12kB --minutes" in said
    assert f"# {command}" in said
    small = ["--set", "warm_start.steps=2", "--set", "quantize.steps=1", "--executor", "inline"]
    small += ["--verdict", "0"]
    call("distill", out, "--data", images, "--out", tmp_path / "run", *small)
    ledger = document("info", tmp_path / "run" / "artifact")["ledger"]
    assert sum(ledger["bytes"].values()) <= 12_000
    assert re.search(r"--verdict \d+\.\d\n", stderr)
    (tmp_path / "file").write_text("")
    unwritable = ["--out", tmp_path / "file" / "own.toml"]
    assert "cannot be written" in call("init", images, *unwritable, code=2)[1]
    assert "exists: give another --out" in call("init", images, "--out", out, code=1)[1]
    assert "must end in .toml" in call("init", images, "--out", tmp_path / "own", code=2)[1]
    artifact, quick = tmp_path / "run" / "artifact", ["--protocol", "quick", "--seeds", "1"]
    _, stderr = call("evaluate", artifact, "--data", images, *quick)
    assert "no test images: networks are tested on validation images" in stderr
    found = document("evaluate", artifact, "--data", images, *quick, "--split", "validation")
    assert (found["split"], found["tests"]) == ("validation", 14)


def test_init_lists_what_is_wrong_with_the_images(tmp_path):
    images = pictures.image_folder(tmp_path / "images", count=3)
    (images / "ant" / "0.png").write_bytes(b"no image")
    _, stderr = call("init", images, "--out", tmp_path / "own.toml", code=1)
    assert "cannot be decoded" in stderr
    assert "ant/0.png" in stderr
    assert not (tmp_path / "own.toml").exists()


def test_evaluate_gives_a_report(run, tmp_path):
    out, path = run[0], tmp_path / "report.json"
    options = ["--protocol", "quick", "--seeds", "1", "--out", path]
    found = document("evaluate", out / "artifact", *options)
    assert json.loads(path.read_text()) == found
    assert [row["name"] for row in found["rows"]] == ["distilled", "random-bytes", "compressed"]
    assert len(found["rows"][0]["trials"]) == 1
    stdout, _ = call("evaluate", out / "artifact", *options[:4], "--baselines", "none")
    assert "distilled" in stdout
    assert "random" not in stdout


def test_options_of_evaluate_reach_the_plan(monkeypatch):
    def plan(name, task, options):
        plan.options = options
        raise d3data.errors.D3DataError("planned")

    monkeypatch.setattr("d3data.evaluation.plan", plan)
    options = ["--seeds", "2", "--baseline-seeds", "1", "--compile", "--nets", "mlp,convnet/batch"]
    call("evaluate", "digits-ipc4", *options, code=1)
    assert plan.options.compile
    assert (plan.options.seeds, plan.options.baseline_seeds) == (range(2), range(1))
    assert plan.options.nets == ["mlp", "convnet/batch"]
    assert plan.options.split is None


def test_what_was_trained_is_kept_until_the_report_is_written(run, tmp_path, monkeypatch, cache):
    def no_room(path, value):
        raise d3data.errors.RunError(f"cannot write {path}")

    command = ["evaluate", run[0] / "artifact", "--protocol", "quick", "--seeds", "1"]
    command += ["--baselines", "random"]
    wrong(2, "is a folder", *command, "--out", tmp_path)
    (tmp_path / "file").write_text("")
    wrong(2, "cannot be written", *command, "--out", tmp_path / "file" / "report.json")
    assert not cache.exists()
    wrong(2, "too long", *command, "--out", tmp_path / f"{'long' * 100}.json")
    with monkeypatch.context() as full:
        full.setattr(atomic, "write_json", no_room)
        wrong(1, "cannot write", *command, "--out", tmp_path / "report.json")
    assert len([*cache.rglob("*.json")]) == 2
    call(*command, "--out", tmp_path / "report.json")
    assert not [*cache.rglob("*.json")]


def test_a_stopped_evaluation_says_how_it_goes_on(run, monkeypatch, cache):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Display, "show", lambda self, at: signal.raise_signal(signal.SIGINT))
    command = ["evaluate", run[0] / "artifact", "--protocol", "quick", "--seeds", "1"]
    assert "run the same command again" in call(*command, code=130)[1]
    assert len([*cache.rglob("*.safetensors")]) == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_one_bar_is_of_what_is_left(monkeypatch):
    shown = []
    monkeypatch.setattr(Lines, "whole", lambda self, at: shown.append((at.step, at.steps)))
    with Display(total=30) as display:
        display.show(Progress("one", 10, 10, event="kept"))
        for step in (4, 10):
            display.show(Progress("two", step, 10))
        display.show(Progress("two of 3", 10, 10, event="kept"))  # workers trained it as "two"
        display.show(Progress("three", 5, 10))
    assert shown == [(4, 20), (10, 20), (15, 20)]


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_command_that_is_stopped_before_it_trains_says_it_too(run, monkeypatch, command):
    def stopped(plan):
        raise KeyboardInterrupt

    monkeypatch.setattr(EvaluationPlan, "estimate", stopped)
    names = [run[0] / "artifact"] * (2 if command == "compare" else 1)
    said = call(command, *names, "--protocol", "quick", code=130)[1]
    assert "stopped; run the same command again to continue" in said


def test_a_dry_run_says_how_long_it_takes(run):
    options = ["--protocol", "quick", "--seeds", "2", "--dry-run", "--nets", "mlp,convnet/batch"]
    options += ["--baselines", "random"]
    found = document("evaluate", run[0] / "artifact", *options)
    names = [(row["name"], row["network"], row["networks"]) for row in found["rows"]]
    kinds = ("mlp", "convnet/batch")
    assert names == [(name, kind, 2) for kind in kinds for name in ("distilled", "random")]


def test_folders_of_images_are_evaluated_too(run, tmp_path):
    exported = tmp_path / "copy"
    call("export", run[0] / "artifact", "--format", "imagefolder", "--draws", 3, "--out", exported)
    options = ["--protocol", "quick", "--seeds", "1", "--baselines", "none"]
    found = document("evaluate", exported, "--task", "digits", *options)
    assert (found["data"], found["content_sha256"]) == (str(exported), None)
    wrong(1, "name the task", "evaluate", exported, *options)
    wrong(1, "is not a folder", "evaluate", tmp_path / "nosuch", *options)


@pytest.mark.parametrize("command", ["evaluate", "audit"])
def test_images_that_are_no_set_may_be_named_as_python_names_them(command, tmp_path):
    place = f"torchvision:ImageFolder:{tmp_path}"
    for name in "0123456789":
        (tmp_path / name).mkdir()
        pictures.picture(0, width=8, height=8, mode="L").save(tmp_path / name / "0.png")
    short = ["--protocol", "quick", "--seeds", "1", "--baselines", "none"]
    options = ["--task", "digits", *(short if command == "evaluate" else ["--draws", "1"])]
    assert document(command, place, *options)["data"] == place
    wrong(1, "name the task", command, place)
    wrong(2, "real images, not a distilled set", "info", place)
    wrong(1, "name the task", command, "hf:me/none")
    wrong(1, "torchvision has no data set 'MNISTT'", command, "torchvision:MNISTT:/x", *options)


def test_sets_and_reports_are_compared(run, tmp_path):
    artifact, path = run[0] / "artifact", tmp_path / "report.json"
    quick = ["--protocol", "quick", "--seeds", "2"]
    call("evaluate", artifact, *quick, "--out", path, "--baselines", "none")
    found = document("compare", artifact, path, *quick)
    assert [difference["mean"] for difference in found["differences"]] == [0]
    wrong(2, r"no\.json is not a file", "compare", artifact, tmp_path / "no.json", *quick)
    wrong(2, "name at least two", "compare", artifact, *quick)
    said = call("compare", artifact, path, *quick)[1]
    assert f"{artifact}: protocol quick: 2 networks, about" in said
    assert "dry-run" not in said
    assert "is shorter" not in said
    path.write_text("[")
    wrong(3, r"report\.json", "compare", artifact, path, *quick)
    wrong(2, "write hard", "evaluate", artifact, *quick, "--labels", "sft")


def test_protocols_versions_and_devices_are_listed():
    assert set(document("protocols")) == set(protocols.protocols)
    assert "convnet-w64" in call("protocols")[0]
    found = document("env")
    assert found["d3data"] == d3data.__version__
    assert {"torch", "cuda"} <= found.keys()


def wrong(code, match, *arguments):
    stdout, stderr = call(*arguments, code=code)
    assert stdout == ""
    assert re.search(match, stderr), stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "change", ["steps.a=1", "task.name.0=1", "subtasks.blocks.2=[1]", "subtasks.blocks.-1=[1]",
               "subtasks.blocks.x=[1]", "subtasks.blocks.0.9=1"],
)  # fmt: skip
def test_a_change_to_a_place_that_is_not_there_is_named(tmp_path, change):
    blocks = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    path = tmp_path / "tiny.toml"
    path.write_text(runs.recipe(subtasks={"blocks": blocks}).to_toml())
    wrong(1, re.escape(f"--set {change!r}: "), "distill", path, "--set", change)
    good = get_recipe(path, overrides=["subtasks.blocks.1=[9, 5, 6, 7, 8]"])
    assert good.subtasks.blocks[1] == (9, 5, 6, 7, 8)


def test_errors_are_a_line_with_the_next_step_and_a_code(toml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong(1, "unknown recipe 'digits-ipc5': did you mean digits-ipc4", "distill", "digits-ipc5")
    wrong(1, "unknown key 'step': did you mean steps", "distill", toml, "--set", "step=4")
    wrong(1, "write key=value", "distill", toml, "--set", "steps")
    wrong(1, "path to a recipe must end in .toml", "distill", "./digits")
    wrong(1, "warm_start.augment: unknown", "distill", toml, "--set", "warm_start.augment=siames")
    wrong(1, "digits-ipc4", "info", "digits-ipc5")
    wrong(1, "is not a run", "status", tmp_path)
    wrong(1, "not a size", "init", tmp_path, "--budget", "much")
    wrong(2, "Missing argument", "distill")
    wrong(2, "No such command", "distil")
    wrong(2, "Invalid value", "distill", toml, "--workers", "0")
    shown = CliRunner().invoke(app, ["--debug", "status", str(tmp_path)])
    assert isinstance(shown.exception, d3data.errors.RunError)


def test_ctrl_c_saves_and_says_how_to_go_on_and_leaves_no_worker(toml, tmp_path):
    options = ["--out", tmp_path, "--set", "steps=100000", "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with runs.command("distill", toml, *options, **pipes) as process:
        log = tmp_path / "subtasks" / "000" / "metrics.jsonl"
        runs.until(lambda: log.exists() and log.stat().st_size > 1000)
        [worker] = runs.children(process.pid)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert stdout == ""
    assert f"stopped; what was done is saved, and the same command goes on with {tmp_path}" in (
        stderr
    )
    assert "Traceback" not in stderr
    assert not runs.lives(worker)
    last = json.loads(log.read_text().splitlines()[-1])
    saved = Checkpoint(log.with_name("checkpoint.safetensors"), every_seconds=0).read()
    assert (saved.stage, saved.step) == (last["stage"], last["step"])


def test_bars_appear_on_a_terminal_only():
    import pty

    parent, child = pty.openpty()
    code = (
        "from d3data.cli.progress import Display; from d3data.utils.progress import Progress\n"
        "with Display() as display:\n"
        "    for step in (1, 2):\n"
        "        display.show(Progress('distill', step, 2, 0.5))\n"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, stderr=child, check=True)
    time.sleep(0.1)
    said = runs.os.read(parent, 10_000).decode()
    runs.os.close(parent)
    runs.os.close(child)
    assert all(words in said for words in ("distill", "2/2", "loss 0.5"))
    assert subprocess.run(command, stderr=subprocess.PIPE, check=True).stderr == b""


def test_quantize_writes_a_smaller_set(tmp_path):
    old = made.write(tmp_path / "toys")
    folder, out = str(old.folder), str(tmp_path / "small")
    call("quantize", folder, "--bits", "8", "--out", out)
    told = document("quantize", folder, "--bits", "priors=4,decoder=8", "--out", f"{out}er")
    assert told["content_bytes"] == artifact.read(f"{out}er").ledger.content_bytes
    assert told["content_bytes"] < artifact.read(out).ledger.content_bytes
    assert told["before"] == old.ledger.content_bytes
    for wrong, code in (("eight", 2), ("priors=four", 2), ("9", 1), ("prior=8", 1)):
        call("quantize", folder, "--bits", wrong, "--out", f"{out}est", code=code)
    assert not Path(f"{out}est").exists()


def test_distill_goes_on_from_a_finished_set(run, toml, tmp_path):
    more = ["--from", run[0] / "artifact", "--set", "steps=3", "--out", tmp_path / "more"]
    call("distill", toml, *more, "--dry-run")
    stdout, _ = call("distill", toml, *more, "--executor", "inline", "--verdict", "0")
    assert "made_from.json" in {one.path for one in artifact.read(stdout.strip()).manifest.files}
    wrong(1, "items_per_class=2", "distill", toml, *more[:4], "--set", "items_per_class=3")


def test_merge_makes_one_set_of_two(tmp_path):
    made.write(tmp_path / "a")
    made.write(tmp_path / "b", classes=[*"vwxyz"])
    told = document("merge", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "ab")
    assert told["classes"] == 10
    assert told["content_bytes"] == artifact.read(tmp_path / "ab").ledger.content_bytes
    wrong(1, "'ant', 'bee'", "merge", tmp_path / "a", tmp_path / "a", "--out", tmp_path / "aa")
    wrong(1, "number of sets", "merge", tmp_path / "a", "--out", tmp_path / "aa")


def test_distill_ends_with_what_the_set_is_worth(run):
    """Once: a finished set of the same content is not evaluated again."""
    out, _ = run
    again = ["distill", out / "recipe.toml", "--out", out, "--verdict", "5"]
    _, stderr = call(*again)
    assert "verdict: this set in" in stderr
    assert "guessing reaches 10.3 %" in stderr  # 37 of 359 test images
    assert "worth its bytes" in stderr or "no better than guessing" in stderr
    found = json.loads((out / "verdict.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["distilled", "random-bytes", "compressed"]
    assert "evaluating it (--verdict 0: not)" in stderr
    assert re.search(r"\d networks, and \d+ shorter ones to .*, about .* machine\n", stderr)
    assert "evaluating it" not in call(*again)[1]


def test_a_folder_of_a_set_is_one_however_it_is_written(run, monkeypatch):
    monkeypatch.chdir(run[0].parent)
    for name in (run[0].name, f"./{run[0].name}", f"{run[0].name}/"):
        assert "is the folder of a run" in call("info", name, code=1)[1]
    name = f"{run[0].name}/artifact"
    assert call("info", name)[0] == call("info", f"./{name}")[0]


def test_what_a_set_says_of_its_images_is_corrected(tmp_path):
    made.write(tmp_path / "toys")
    before = document("info", tmp_path / "toys")["manifest"]
    call("describe", tmp_path / "toys", "--licence", "CC-BY-4.0")
    after = document("info", tmp_path / "toys")["manifest"]
    assert after["about"]["provenance"]["licence"] == "CC-BY-4.0"
    assert after["content_sha256"] == before["content_sha256"]
    call("verify", tmp_path / "toys")
    assert "say what to correct" in call("describe", tmp_path / "toys", code=2)[1]


def test_what_is_no_run_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(runs.recipe().to_toml())
    wrong(1, "is not a run: it has no env.json", "status", ".")
    wrong(1, "no place is known", "distill", "recipe.toml", "--set", "task.name=mine")
    assert not (tmp_path / "runs" / "tiny").exists()


def test_a_card_is_written_over_cards_only(tmp_path):
    made.write(tmp_path / "toys")
    notes = tmp_path / "notes.md"
    notes.write_text("mine")
    assert "is no card" in call("card", tmp_path / "toys", "--out", notes, code=2)[1]
    assert "must end in .md" in call("card", tmp_path / "toys", "--out", "x.toml", code=2)[1]
    assert notes.read_text() == "mine"


@pytest.mark.parametrize(
    "how",
    [Ray("auto", 0.5, 3, True), Ray(), Slurm({"partition": "gpu", "time": 20}, 4), Slurm()],
    ids=str,
)
def test_the_command_that_resumes_a_run_on_a_cluster_names_the_cluster(how):
    words = shlex.split(_command(Path("run"), how.command_options))
    command = get_command(app).commands["distill"]
    told = command.make_context("distill", words[2:]).params
    names = ("executor", "workers", "address", "gpus", "carry", "slurm")
    assert executor_of(*(told[name] for name in names)) == how
