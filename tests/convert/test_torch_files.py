"""Other people's `.pt` files: what is read, and what is refused without being run."""

import os
import pathlib
import pickle  # noqa: TID251  to write what is refused
import re
import zipfile

import numpy as np
import pytest
import torch

import d3data
from d3data.convert import image_files, torch_files
from d3data.convert.checkpoint import read_checkpoint
from d3data.errors import FormatError

ROOT = pathlib.Path(d3data.__file__).parent


class Reduced:
    """What a pickle calls when it is loaded."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.fixture
def file(tmp_path):
    def save(content, **more):
        torch.save(content, tmp_path / "x.pt", **more)
        return tmp_path / "x.pt"

    return save


def rewritten(path, *, compression=zipfile.ZIP_STORED, extra=(), **changed):
    """The archive with other bytes in some entries, named by the end of their paths."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries:
            change = changed.get(pathlib.Path(name).stem, lambda same: same)
            archive.writestr(name, change(data))
        for name, data in extra:
            archive.writestr(name, data)
    return path


def test_tensors_are_read_as_they_were_saved(file):
    numbers = torch.arange(24.0).view(2, 3, 4)
    saved = {
        "a": numbers,
        "view": numbers[:, 1:, ::2],
        "b": [torch.tensor([1, 2]), (torch.zeros(0), 7, "x")],
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "half": torch.ones(3, dtype=torch.float16),
    }
    found = torch_files.read(file(saved))
    assert torch.equal(found["a"], numbers)
    assert torch.equal(found["view"], numbers[:, 1:, ::2])
    assert torch.equal(found["b"][0], torch.tensor([1, 2]))
    assert found["b"][1][1:] == (7, "x")
    assert torch.equal(found["parameter"].detach(), torch.ones(2))
    assert found["half"].dtype == torch.float16


@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_scores_of_numpy_beside_the_tensors_are_not_looked_at(file, module):
    path = file(
        {"data": [[torch.ones(2), torch.zeros(2)]], "accs": {"ConvNet": [np.float64(0.5)]}}
    )
    path = rewritten(path, data=lambda p: p.replace(b"numpy._core.multiarray", module))
    found = torch_files.read(path)
    assert torch.equal(found["data"][0][0], torch.ones(2))
    assert isinstance(found["accs"]["ConvNet"][0], torch_files.Ignored)


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("call", [pathlib.Path.touch, os.mkdir])
def test_a_pickle_that_calls_is_refused_and_calls_nothing(tmp_path, file, protocol, call):
    victim = tmp_path / "victim"
    path = file({"syn_img": Reduced(call, victim)}, pickle_protocol=protocol)
    with pytest.raises(FormatError, match=r"touch|getattr|mkdir|STACK_GLOBAL"):
        torch_files.read(path)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        (bytearray, (1 << 40,)),
        (torch.Tensor, (1 << 20, 1 << 20)),
        (torch.UntypedStorage, (1 << 42,)),
    ],
)
def test_calls_that_take_memory_are_refused(file, call, arguments):
    with pytest.raises(FormatError, match="which no file of tensors needs"):
        torch_files.read(file([Reduced(call, *arguments)]))


@pytest.mark.parametrize("claim", [b"J\xff\xff\xff\x7f", b"K\xc8"], ids=["2,147,483,647", "200"])
@pytest.mark.parametrize("both", [True, False], ids=["storage and shape", "shape"])
def test_a_tensor_that_claims_more_than_the_file_has_is_refused(file, claim, both):
    def change(program):
        return program.replace(b"K\x4d", claim) if both else _last(program, b"K\x4d", claim)

    with pytest.raises(FormatError, match=r"cannot be loaded|claims the shape"):
        torch_files.read(rewritten(file(torch.zeros(77)), data=change))


def _last(program, old, new):
    head, _, tail = program.rpartition(old)
    return head + new + tail


def test_a_view_of_one_value_that_claims_many_is_refused(file):
    with pytest.raises(FormatError, match="claims the shape"):
        torch_files.read(file({"x": torch.zeros(1).expand(1 << 20, 1 << 20)}))


def test_files_that_are_cut_off_are_refused(file):
    path = file({"x": torch.zeros(1000)})
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            torch_files.read(path)


def test_archives_that_torch_does_not_write_are_refused(file):
    for change, fault in (
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"extra": [("x/code/evil.py", b"raise")]}, "holds 'x/code/evil.py'"),
        ({"extra": [("x/DATA.PKL", b"N.")]}, "holds 'x/DATA.PKL'"),
        ({"extra": [("x/x/data.pkl", b"N.")]}, "holds 'x/x/data.pkl'"),
        ({"extra": [("y/data.pkl", b"N.")]}, "several archives"),
        ({"extra": [("X/data/0", b"N.")]}, "several archives|twice"),
        ({"data": lambda p: p + b" " * torch_files.MOST_PROGRAM}, "more than 1 MiB"),
        ({"data": lambda _: b"\x80\x02broken"}, "broken"),
        ({"data": lambda _: b"\x80\x020."}, "broken"),
    ):
        with pytest.raises(FormatError, match=fault):
            torch_files.read(rewritten(file({"x": torch.zeros(3)}), **change))


def test_tuples_that_hold_each_other_many_times_are_refused_at_once(file):
    """As a dictionary's key each would be hashed for hours: two to the thirtieth things."""
    twice = ()
    for _ in range(30):
        twice = (twice, twice)
    cubed = ((((7,) * 300,) * 300,) * 300,)
    deep = b")" + b"\x85" * 1_000_000  # whose hash would overflow the stack
    for program in (*(pickle.dumps(bomb, protocol=2)[2:-1] for bomb in (twice, cubed)), deep):
        keyed = b"\x80\x02}" + program + b"K\x01s."
        path = rewritten(file({}), data=lambda _, keyed=keyed: keyed)
        with pytest.raises(FormatError, match=r"a tuple in its pickle|more than 1 MiB"):
            torch_files.read(path)


def test_tuples_of_many_tensors_are_read(file):
    many = tuple(torch.full((2,), n) for n in range(500))
    assert len(torch_files.read(file((many, many)))[1]) == 500
    assert torch_files.read(file({"x": torch.zeros(2), "k": [(3, 3)] * 50}))["k"][49] == (3, 3)


def test_no_message_shows_more_of_a_file_than_a_line(file):
    shared = [0]
    for _ in range(30):
        shared = [shared, shared]
    name = "\x1b[2J" + "x" * 5000
    for content in ({name: shared}, [shared], {"syn_img": shared} | {"z": 1}):
        for read in (read_checkpoint, lambda path: image_files.read_tensors([path], [])):
            with pytest.raises(FormatError) as refused:
                read(file(content))
            assert len(str(refused.value)) < 500
            assert str(refused.value).isprintable()


def test_older_files_and_missing_ones_say_what_to_do(tmp_path, file):
    path = file(torch.zeros(3), _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match=r"PyTorch 1\.6"):
        torch_files.read(path)
    with pytest.raises(FormatError, match="does not exist"):
        torch_files.read(tmp_path / "none.pt")


def test_a_tensor_is_checked():
    kept = torch_files.tensor(torch.ones(2), where="x", shape=(2,))
    assert torch.equal(kept, torch.ones(2))
    for value, fault in (
        ([1.0, 1.0], "list"),
        (torch.ones(3), r"shape \(3,\)"),
        (torch.ones(2, dtype=torch.float64), "float64"),
        (torch.tensor([1.0, torch.nan]), "not finite"),
    ):
        with pytest.raises(FormatError, match=fault):
            torch_files.tensor(value, where="x", shape=(2,))


def test_one_module_opens_pickles():
    opens = re.compile(r"(?<!safetensors\.)torch\.load\(")
    opening = [path.name for path in ROOT.rglob("*.py") if opens.search(path.read_text())]
    assert opening == ["torch_files.py"]
