"""State dicts of StyleGAN2 as generator files."""

import math
import pickle  # noqa: TID251  to write what is refused

import pytest
import safetensors.torch
import torch
from torch.nn import functional as F
from typer.testing import CliRunner

from d3data import convert
from d3data.artifact import generator_file
from d3data.cli.commands import app
from d3data.errors import FormatError

STYLES, CHANNELS = 6, {4: 8, 8: 8, 16: 4}


def theirs(*, classes=0, channels=3):
    """A generator's state dict, by the names and with the weights of NVIDIA's code."""
    rng = torch.Generator().manual_seed(4)

    def normal(*shape):
        return torch.randn(shape, generator=rng)

    state = {}
    if classes:
        state["mapping.embed.weight"] = normal(STYLES, classes)
        state["mapping.embed.bias"] = normal(STYLES)
    for n in range(3):
        wide = STYLES * (2 if classes and n == 0 else 1)
        state[f"mapping.fc{n}.weight"] = 100 * normal(STYLES, wide)
        state[f"mapping.fc{n}.bias"] = 10 * normal(STYLES)
    state["mapping.w_avg"] = normal(STYLES)
    state["synthesis.b4.const"] = normal(CHANNELS[4], 4, 4)
    taps = torch.tensor([1.0, 3, 3, 1]) / 8
    for at, wide in CHANNELS.items():
        layers = {"conv1": (wide, wide, 3, 3), "torgb": (channels, wide, 1, 1)}
        if at > 4:
            layers["conv0"] = (wide, CHANNELS[at // 2], 3, 3)
        for name, shape in layers.items():
            place = f"synthesis.b{at}.{name}"
            state[f"{place}.affine.weight"] = normal(shape[1], STYLES)
            state[f"{place}.affine.bias"] = 1 + 0.1 * normal(shape[1])
            state[f"{place}.weight"], state[f"{place}.bias"] = normal(*shape), normal(shape[0])
            if name != "torgb":
                state[f"{place}.noise_const"] = normal(at, at)
                state[f"{place}.noise_strength"] = normal()
                state[f"{place}.resample_filter"] = torch.outer(taps, taps)
    return state


def naive(state, noise, labels):
    """Their mapping, without truncation, one weight at a time."""

    def normalized(x):
        return x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt()

    x = normalized(noise)
    if "mapping.embed.weight" in state:
        weight = state["mapping.embed.weight"]
        y = F.one_hot(labels, weight.shape[1]).float() @ weight.T / math.sqrt(weight.shape[1])
        x = torch.cat([x, normalized(y + state["mapping.embed.bias"])], 1)
    for n in range(3):
        weight, bias = (state[f"mapping.fc{n}.{kind}"] for kind in ("weight", "bias"))
        x = x @ weight.T * (0.01 / math.sqrt(weight.shape[1])) + 0.01 * bias
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    return x


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("kind", ["safetensors", "pt"])
def test_a_generator_becomes_ours(classes, kind, tmp_path):
    state, path = theirs(classes=classes), tmp_path / f"theirs.{kind}"
    if kind == "pt":
        torch.save({f"G_ema.{name}": one for name, one in state.items()}, path)
    else:
        safetensors.torch.save_file(state, path)
    out = convert.stylegan(path, out=tmp_path / "ours.safetensors", origin="a test")
    found = generator_file.read(out)
    about = found.about
    assert (about.size, about.channels, about.origin) == (16, 3, "a test")
    assert about.network.dump() == {"family": "stylegan2", "width": 8, "base": 64, "styles": 6}
    assert found.mapping.classes == classes
    labels = torch.tensor([0, 3, 1])
    noise = torch.randn(3, STYLES, generator=torch.manual_seed(1))
    styles = found.mapping(noise, labels)
    torch.testing.assert_close(styles, naive(state, noise, labels), rtol=1e-4, atol=1e-5)
    assert torch.equal(found.synthesis.const, state["synthesis.b4.const"])
    own, other = found.synthesis.convs["3"], "synthesis.b16.conv0"
    assert torch.equal(own.weight, state[f"{other}.weight"])
    torch.testing.assert_close(
        own.affine.weight * math.sqrt(STYLES), state[f"{other}.affine.weight"]
    )
    rgb = found.synthesis.rgbs["2"].weight * math.sqrt(CHANNELS[16])
    torch.testing.assert_close(rgb, state["synthesis.b16.torgb.weight"])


def changed(**more):
    return {**theirs(), **{name.replace("__", "."): one for name, one in more.items()}}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"synthesis.L0_36_512.weight": torch.ones(1)}, "StyleGAN3, StyleGAN-XL"),
        (changed(synthesis__b8__skip__weight=torch.ones(8, 8, 1, 1)), "has .*skip.weight"),
        (changed(synthesis__b8__conv1__weight=torch.ones(6, 6, 3, 3)), "channels, which no"),
        (changed(synthesis__b8__conv1__bias=torch.ones(3)), "synthesis is not the one it says"),
        (changed(mapping__fc4__weight=torch.ones(6, 6)), "its mapping is none"),
        (changed(synthesis__b8__conv1__resample_filter=torch.ones(4, 4)), "another filter"),
        (changed(synthesis__b8__conv1__bias=torch.full((8,), torch.nan)), "not finite"),
        ({n: t for n, t in theirs().items() if "b8.torgb" not in n}, "is not the one it says"),
    ],
)
def test_what_is_no_stylegan2_is_refused(state, message, tmp_path):
    safetensors.torch.save_file(state, tmp_path / "theirs.safetensors")
    with pytest.raises(FormatError, match=message):
        convert.stylegan(tmp_path / "theirs.safetensors", out=tmp_path / "ours.safetensors")
    assert not (tmp_path / "ours.safetensors").exists()


class Program:
    def __reduce__(self):
        return print, ("it was run",)


def test_no_pickle_is_opened(tmp_path, capsys):
    (tmp_path / "network.pkl").write_bytes(pickle.dumps({"G_ema": Program()}))
    torch.save({"synthesis.b4.const": Program()}, tmp_path / "network.pt")
    with pytest.raises(FormatError, match=r"a program, and is not opened.*state_dict\(\)"):
        convert.stylegan(tmp_path / "network.pkl", out=tmp_path / "ours.safetensors")
    with pytest.raises(FormatError, match="its pickle calls"):
        convert.stylegan(tmp_path / "network.pt", out=tmp_path / "ours.safetensors")
    assert capsys.readouterr().out == ""


def test_the_command_tells_the_digest(tmp_path):
    safetensors.torch.save_file(theirs(), tmp_path / "theirs.safetensors")
    out = str(tmp_path / "ours.safetensors")
    words = ["convert", "stylegan", str(tmp_path / "theirs.safetensors"), "--out", out]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert "sha256" in ended.output
