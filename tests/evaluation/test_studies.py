"""Studies: entries are made and evaluated alike, once, and their table is made of what is kept."""

from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch

import made
import tiny_runs as runs
from d3data import load
from d3data.data.sets import as_artifact
from d3data.errors import D3DataError, DataError, JobError, RecipeError, RunError, UnknownNameError
from d3data.evaluation import evaluate, studies
from d3data.evaluation.protocols import get_protocol
from d3data.evaluation.studies import running
from d3data.evaluation.studies.deriving import interpolate, scale_noise
from d3data.evaluation.studies.running import EntryJob
from d3data.executors.processes import Processes
from d3data.nets import NetworkSpec

SHIPPED = {"name": "shipped", "set": "digits-ipc4"}
SHORT = {"network": NetworkSpec(width=4), "steps": 3, "batch": 16}


@pytest.fixture(autouse=True)
def _short(monkeypatch, tmp_path):
    """Protocols have few steps; what evaluations keep is kept here."""

    def briefly(dataset, protocol, **options):
        short = protocol.model_copy(update={**SHORT, "name": f"{protocol.name}-short"})
        return evaluate(dataset, protocol=short, date="2026-01-02", **options)

    monkeypatch.setattr(running, "evaluate", briefly)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def file(tmp_path):
    """A study of a recipe beside it, of the same in 8 bits, and of a set that is there."""
    (tmp_path / "tiny.toml").write_text(runs.recipe().to_toml())
    return written(tmp_path / "study.toml")


def written(path: Path, **changed):
    entries = [
        {"name": "tiny", "recipe": "tiny.toml"},
        {"name": "tiny-8", "recipe": "tiny.toml", "bits": 8, "networks": 1},
        {"name": "shipped", "set": "digits-ipc4", "protocols": ["standard"]},
    ]
    values = {"name": "alike", "claim": "They are alike.", "baselines": ["random"]}
    path.write_text(tomli_w.dumps({**values, "entries": entries, **changed}))
    return path


def test_entries_are_evaluated_alike_and_once(file, tmp_path):
    events = []
    page = studies.run(file, out=tmp_path / "out", progress=events.append)
    assert [(one.entry, one.row, one.protocol, len(one.accuracies)) for one in page.results] == [
        ("tiny", "distilled", "quick-short v1", 2),
        ("tiny", "random", "quick-short v1", 2),
        ("tiny-8", "distilled", "quick-short v1", 1),
        ("tiny-8", "random", "quick-short v1", 1),
        ("shipped", "distilled", "standard-short v1", 2),
        ("shipped", "random", "standard-short v1", 2),
    ]
    whole, eight = (one for one in page.results if one.entry != "shipped" and one.row != "random")
    assert eight.bytes < whole.bytes
    assert whole.distill_seconds == eight.distill_seconds > 0
    assert len([*(tmp_path / "out" / "runs").glob("tiny-*")]) == 1
    assert [at.job for at in events if at.event == "done"] == ["tiny", "tiny-8", "shipped"]
    later = []
    assert studies.run(file, out=tmp_path / "out", progress=later.append) == page
    assert not later
    assert studies.read_page(tmp_path / "out" / studies.PAGE) == page


@pytest.mark.parametrize("name", ["digits-ipc4", "cifar10-u8ipc1"])
def test_draws_of_scaled_noise_are_as_many_times_as_far_from_the_means(tmp_path, name):
    scale_noise(name, 2.5, out=tmp_path / "set")
    before, after = load(name), load(tmp_path / "set")
    epochs, indices = np.zeros(32, np.int64), np.arange(32) * 7
    one, other = (data.drawer.latents(epochs, indices).latent for data in (before, after))
    mean = before.drawer.mean_latents(before.drawer.items(epochs, indices)).latent
    assert (one - mean).abs().amax() > 1e-3
    torch.testing.assert_close(other - mean, 2.5 * (one - mean), atol=1e-5, rtol=1e-3)
    assert (
        as_artifact(tmp_path / "set").ledger.stored_values
        == as_artifact(name).ledger.stored_values
    )


def test_a_set_without_noise_has_none_to_scale(pixels, tmp_path):
    with pytest.raises(RecipeError, match="have no noise"):
        scale_noise(pixels, 2.0, out=tmp_path / "set")


@pytest.mark.parametrize("name", ["digits-ipc4", "cifar10-u8ipc1"])
def test_interpolated_items_lie_between_two_of_their_class(tmp_path, name):
    interpolate(name, 7, out=tmp_path / "set")
    before, after = as_artifact(name), as_artifact(tmp_path / "set")
    assert len(before.manifest.content.parts) == len(after.manifest.content.parts)
    for number in range(len(before.manifest.content.parts)):
        old, new = before.part(number), after.part(number)
        assert (new.classes, new.items_per_class) == (old.classes, (7,) * len(old.classes))
        shared = old.tensors.keys() - {"mean"}
        assert all(torch.equal(new.tensors[one], old.tensors[one]) for one in shared)
        ends = old.tensors["mean"].split(old.items_per_class)
        for own, mixed in zip(ends, new.tensors["mean"].split(new.items_per_class), strict=True):
            for item in mixed.flatten(1):
                assert _farness(item, own.flatten(1)) < 1e-5
            apart = torch.cdist(mixed.flatten(1), own.flatten(1)).amin(1)
            assert apart.median() > 1e-3, "they are no copies"


def test_between_more_items_than_an_epoch_has_draws_all_are_drawn(tmp_path):
    many = interpolate("digits-ipc4", 200, out=tmp_path / "set").manifest.content
    assert many.sampling.draws_per_class == 200


def test_there_is_nothing_between_the_items_of_a_class_with_one(priors, tmp_path):
    with pytest.raises(RecipeError, match="one item"):
        interpolate(priors, 2, out=tmp_path / "set")


def _farness(item, ends):
    """How far `item` is from the nearest line between two rows of `ends`, beside the longest."""
    a, b = (ends[list(side)] for side in zip(*combinations(range(len(ends)), 2), strict=True))
    length = (b - a).square().sum(1)
    u = (((item - a) * (b - a)).sum(1) / length).clamp(0, 1)
    gaps = (a + u[:, None] * (b - a) - item).square().sum(1)
    return (gaps.min() / length.max()).sqrt()


def test_what_changed_is_done_again_and_nothing_else(file, tmp_path):
    before = studies.run(file, out=tmp_path / "out").results
    (tmp_path / "tiny.toml").write_text(runs.recipe(seed=8).to_toml())
    done = []
    watch = lambda at: done.append(at.job) if at.event == "done" else None  # noqa: E731
    after = studies.run(file, out=tmp_path / "out", progress=watch).results
    assert done == ["tiny", "tiny-8"]
    assert after[4:] == before[4:]
    written(file, claim="Words change nothing.")
    studies.run(file, out=tmp_path / "out", progress=watch)
    assert len(done) == 2
    written(file, networks=1)
    studies.run(file, out=tmp_path / "out", progress=watch)
    assert done[2:] == ["tiny", "shipped"], "tiny-8 has a number of its own"


def test_what_has_other_bits_noise_or_draws_is_another_set(tmp_path):
    kinds = [
        {},
        {"bits": 4},
        {"noise": 2.0},
        {"baked": 2},
        {"interpolated": 99},
        {"bits": 4, "noise": 2.0, "baked": 2},
    ]
    entries = [{**SHIPPED, "name": f"e{n}", "networks": 1, **kind} for n, kind in enumerate(kinds)]
    file = written(tmp_path / "study.toml", entries=entries, baselines=[])
    rows = studies.run(file, out=tmp_path / "out").results
    whole, few, _, drawn, more, all_three = (row.bytes for row in rows)
    assert len([*(tmp_path / "out" / "noise").iterdir()]) == 2
    assert few < whole < more
    assert all_three < drawn, "drawn images are stored in as few bits"


def test_a_rival_of_several_sets_stands_in_the_table_once(tmp_path):
    entries = [{**SHIPPED, "networks": 1}, {**SHIPPED, "name": "b", "networks": 1}]
    page = studies.run(written(tmp_path / "s.toml", entries=entries), out=tmp_path / "out")
    assert [one.row for one in page.results] == ["distilled", "random"] * 2
    rows = [line.split(" | ")[0] for line in studies.table(page).splitlines()[2:]]
    assert rows == ["| shipped", "| random, beside shipped", "| b"]


def test_a_file_is_no_folder_for_results(file, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunError, match="out cannot be a folder: File exists"):
        studies.run(file, out=tmp_path / "out")


def test_studies_may_share_a_folder(tmp_path):
    one = written(tmp_path / "one.toml", name="one", entries=[SHIPPED], networks=1)
    two = written(tmp_path / "two.toml", name="two", entries=[SHIPPED], networks=2)
    first = studies.run(one, out=tmp_path / "out")
    studies.run(two, out=tmp_path / "out")
    later = []
    assert studies.run(one, out=tmp_path / "out", progress=later.append) == first
    assert not later


def test_a_generator_that_was_fitted_again_is_another_one(tmp_path):
    weights = tmp_path / "g.safetensors"
    changes = [f'warm_start.weights="{weights.as_posix()}"']
    entries = [{"name": "a", "recipe": "glad-digits-ipc1", "changes": changes}]
    study = studies.read_study(written(tmp_path / "study.toml", entries=entries))
    common = {"folder": tmp_path, "device": "cpu", "threads": 1, "root": tmp_path, "data": None}
    job = EntryJob(name="a", number=0, study=study, **common)
    weights.write_bytes(b"a")
    before = job.settings
    weights.write_bytes(b"b")
    assert job.settings != before


def test_an_entry_may_have_no_baselines_where_the_study_has_some(tmp_path):
    alone = [{"name": "shipped", "set": "digits-ipc4", "baselines": []}]
    file = written(tmp_path / "study.toml", entries=alone)
    assert [one.row for one in studies.run(file, out=tmp_path / "out").results] == ["distilled"]


def test_protocols_of_a_study_are_like_published_ones_but_for_what_they_say(
    file, tmp_path, monkeypatch
):
    own = {"lone": {"like": "quick", "draws": "items"}, "long": {"like": "lone", "epochs": 2}}
    study = studies.read_study(written(file, protocols=["lone"], own=own, precision="bfloat16"))
    lone, long = study.protocol("lone"), study.protocol("long")
    assert (lone.draws, lone.steps, lone.epochs) == ("items", 600, None)
    assert (long.draws, long.steps, long.epochs) == ("items", None, 2)
    asked = []

    def spied(dataset, protocol, **options):
        asked.append((protocol.draws, options["precision"], options["compile"]))
        return whole(dataset, protocol=protocol, **options)

    whole = running.evaluate
    monkeypatch.setattr(running, "evaluate", spied)
    page = studies.run(file, out=tmp_path / "out")
    assert {one.protocol for one in page.results} == {"lone-short v1", "standard-short v1"}
    assert set(asked) == {("items", "bfloat16", False), ("set", "bfloat16", False)}
    asked.clear()
    own["long"] = {"like": "lone", "epochs": 3}  # which no entry uses
    assert (
        studies.run(
            written(file, protocols=["lone"], own=own, precision="bfloat16"), out=tmp_path / "out"
        )
        == page
    )
    assert not asked


def test_paths_of_sets_are_from_the_folder_of_the_study(file, tmp_path, monkeypatch):
    (tmp_path / "copy").symlink_to(as_artifact("digits-ipc4").folder)
    written(file, entries=[{"name": "copy", "set": "./copy", "networks": 1}], baselines=[])
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [one.entry for one in studies.run(file, out="out").results] == ["copy"]


def test_a_set_may_be_trained_on_as_fixed_draws_of_each_item(tmp_path):
    entries = [{**SHIPPED, "baked": draws, "name": str(draws)} for draws in (1, 3)]
    file = written(tmp_path / "study.toml", entries=entries, baselines=[])
    one, three = studies.run(file, out=tmp_path / "out").results
    assert (one.values, three.values) == (110 * 8 * 8, 3 * 110 * 8 * 8)


def test_a_study_that_is_stopped_goes_on(file, tmp_path):
    class Stop(Exception):
        pass

    def stop(at):
        if at.job == "tiny-8" and at.stage.startswith("random"):
            raise Stop

    with pytest.raises(Stop):
        studies.run(file, out=tmp_path / "out", progress=stop)
    seen = []
    page = studies.run(file, out=tmp_path / "out", progress=seen.append)
    assert "tiny" not in {at.job for at in seen}
    fresh = studies.run(file, out=tmp_path / "other")
    assert [one.accuracies for one in page.results] == [one.accuracies for one in fresh.results]


def test_the_table_has_every_result_and_is_the_same_each_time(file, tmp_path):
    page = studies.run(file, out=tmp_path / "out")
    text = studies.table(page)
    lines = text.splitlines()
    assert len(lines) == 2 + len(page.results)
    assert len({line.count("|") for line in lines}) == 1
    assert "| random, beside tiny-8 |" in lines[5]
    assert text == studies.table(studies.read_page(tmp_path / "out" / studies.PAGE))


def test_robust_scores_are_those_of_the_report_and_have_columns(tmp_path):
    """Of the set alone, not of its rivals; a table without scores has no such columns."""
    path = written(tmp_path / "s.toml", entries=[SHIPPED], networks=1, scores=True)
    page = studies.run(path, out=tmp_path / "out")
    report = evaluate(
        "digits-ipc4",
        protocol=get_protocol("quick").model_copy(update={**SHORT, "name": "quick-short"}),
        seeds=range(1),
        scores=True,
    )
    assert [(one.row, one.scores) for one in page.results] == [
        ("distilled", report.scores),
        ("random", None),
        ("real", None),
    ]
    heading, _, own, *rivals = (line.split(" | ") for line in studies.table(page).splitlines())
    assert heading[-2:] == ["LRS", "ARS |"]
    assert float(own[-2]) > 0
    assert all(len(line) == len(heading) for line in rivals)
    plain = studies.run(written(tmp_path / "p.toml", entries=[SHIPPED], networks=1), out=tmp_path)
    assert "LRS" not in studies.table(plain)


def test_entries_that_fail_are_told_and_the_others_are_kept(file, tmp_path, monkeypatch):
    def fail(dataset, **options):
        if "stored/tiny-8" in str(dataset).replace("\\", "/"):
            raise D3DataError("it is broken")
        return whole(dataset, **options)

    whole = running.evaluate
    monkeypatch.setattr(running, "evaluate", fail)
    told = []
    with pytest.raises(
        JobError, match="1 of 3 entries failed, the others are kept: tiny-8: it is"
    ):
        studies.run(file, out=tmp_path / "out", progress=told.append)
    assert [at.job for at in told if at.event == "failed"] == ["tiny-8"]
    monkeypatch.setattr(running, "evaluate", whole)
    later = []
    studies.run(file, out=tmp_path / "out", progress=later.append)
    assert {at.job for at in later if at.event != "planned"} == {"tiny-8"}


def test_images_that_are_not_here_are_missed_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.delenv("D3DATA_DATA", raising=False)
    recipe = {"name": "lost", "recipe": "dm-digits-ipc1", "changes": ["task.name=toys"]}
    finished = {"name": "lost", "set": str(tmp_path / "set")}
    made.write(tmp_path / "set")
    for lost in (recipe, finished):
        file = written(tmp_path / "study.toml", entries=[SHIPPED, lost])
        with pytest.raises(UnknownNameError, match=r"entry lost: .*toys.*--data"):
            studies.run(file, out=tmp_path / "out")
        assert not any((tmp_path / "out").iterdir())
    with pytest.raises(DataError, match=r"entry shipped: .*gone"):
        studies.run(file, out=tmp_path / "out", data=tmp_path / "gone")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"entries": []}, "entries"),
        ({"entries": [{"name": "a"}]}, "a has neither a recipe nor a set"),
        ({"entries": [{"name": "a", "recipe": "x", "set": "y"}]}, "a has a recipe and a set"),
        (
            {"entries": [{"name": "a", "set": "y", "changes": ["b=1"]}]},
            "for recipes, not for a set",
        ),
        ({"entries": [{"name": "a", "set": "y"}] * 2}, "names of their own: a"),
        ({"entries": [{"name": "../a", "set": "y"}]}, "name"),
        ({"entries": [{"name": "a", "recipe": "digits-ipc5"}]}, "did you mean digits-ipc"),
        ({"entries": [{"name": "a", "recipe": "gone.toml"}]}, r"gone\.toml"),
        ({"protocol": "quick"}, "did you mean protocols"),
        ({"claim": "a|b", "entries": [SHIPPED]}, "claim"),
        ({"networks": 0}, "networks"),
        ({"own": {"a": {"like": 3}}, "entries": [SHIPPED]}, "like is 3"),
        ({"entries": [{"name": "a", "set": "digits-ipc5"}]}, "did you mean digits-ipc4"),
        ({"entries": [SHIPPED], "baselines": ["randm"]}, "did you mean random"),
        ({"own": {"a b": {"like": "quick"}}, "entries": [SHIPPED]}, "own"),
        ({"entries": [{"name": "a", "recipe": "dm-digits-ipc1", "baked": 1}]}, "images already"),
        ({"entries": [{"name": "a", "recipe": "dm-digits-ipc1", "noise": 2}]}, "leave noise out"),
        ({"entries": [SHIPPED], "nets": ["resnet1"]}, "nets: .*did you mean resnet18"),
        ({"entries": [SHIPPED], "nets": ["vgg11/nonsense"]}, "norm"),
        ({"entries": [{**SHIPPED, "bits": 33}]}, "bits"),
        ({"entries": [{**SHIPPED, "interpolated": 0}]}, "interpolated"),
        ({"entries": [{**SHIPPED, "set": "cifar10-u8ipc1", "noise": 1e3}]}, "spread"),
        ({"entries": [{"name": "a", "recipe": "glad-digits-ipc1", "baked": 4}]}, "baked=1"),
        ({"entries": [SHIPPED, {**SHIPPED, "name": "Shipped"}]}, "names of their own"),
        (
            {"entries": [SHIPPED], "protocols": ["quick", "quick"]},
            "protocols has one twice: quick",
        ),
        ({"entries": [{**SHIPPED, "protocols": []}]}, "protocols"),
        ({"entries": [{**SHIPPED, "set": "./gone"}]}, "gone"),
        ({"protocols": ["quik"], "entries": [SHIPPED]}, "did you mean quick"),
        (
            {"protocols": ["a"], "own": {"a": {"like": "quik"}}, "entries": [SHIPPED]},
            "did you mean quick",
        ),
        (
            {"protocols": ["a"], "own": {"a": {"like": "quick", "step": 1}}, "entries": [SHIPPED]},
            "did you mean steps",
        ),
        (
            {"own": {"quick": {"like": "quick", "steps": 1}}, "entries": [SHIPPED]},
            "give it another name",
        ),
    ],
)
def test_studies_that_cannot_be_run_are_refused_before_anything_is_made(tmp_path, changed, said):
    path = written(tmp_path / "study.toml", **changed)
    with pytest.raises(D3DataError, match=said):
        studies.run(path, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_workers_do_what_one_process_does(tmp_path, monkeypatch):
    """In processes of their own, where the protocol is as short as the study says."""
    monkeypatch.setattr(running, "evaluate", evaluate)
    own = {"brief": {"like": "quick", "steps": 5}}
    values = {"networks": 1, "baselines": [], "nets": ["mlp"], "protocols": ["brief"], "own": own}
    entries = [{"name": "digits", "set": "digits-ipc4"}]
    path = written(tmp_path / "study.toml", entries=entries, **values)
    run = partial(studies.run, path, threads=1)
    (one,) = run(out=tmp_path / "a", executor=Processes(1)).results
    (two,) = run(out=tmp_path / "b").results
    assert one.accuracies == two.accuracies


def test_results_of_other_images_are_not_taken(file, tmp_path):
    studies.run(file, out=tmp_path / "out")
    values = {"name": "tiny", "number": 0, "device": "cpu", "threads": 1, "root": tmp_path}
    values |= {"study": studies.read_study(file), "folder": tmp_path / "out"}
    assert EntryJob(**values, data=None).found is not None
    assert EntryJob(**values, data="/other").found is None


def test_a_study_has_the_threads_that_it_is_given(file, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    seen = []

    def made(*them, executor, **options):
        seen.append((torch.get_num_threads(), executor.threads))
        return whole(*them, executor=executor, **options)

    whole = running.runs.run
    monkeypatch.setattr(running.runs, "run", made)
    studies.run(file, out=tmp_path / "out", threads=2)
    assert seen == [(2, 2), (2, 2)]
