"""Laws of the rules that bring images to one shape, and of the modes that they take."""

import io
import struct
import zlib

import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from bounds import bounded
from d3data.errors import DataError
from d3data.images.preprocessing import Preprocessing, kind_of, range_fault, suggest_rule
from pictures import encoded, picture

FITS = ("squash", "crop", "pad")


def rule(fit: str, size: int = 16, *, channels: int = 3, padding: int = 0) -> Preprocessing:
    return Preprocessing(channels=channels, size=size, fit=fit, padding=padding)


def gray(values: np.ndarray) -> torch.Tensor:
    """What a grey rule of 8 pixels makes of an 8x8 array."""
    return rule("exact", 8, channels=1)(Image.fromarray(values))[0]


@settings(max_examples=60, deadline=None)
@given(
    fit=st.sampled_from(FITS),
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"]),
    channels=st.sampled_from([1, 3]),
    size=st.integers(8, 40),
)
def test_every_image_comes_out_square_and_uint8(fit, width, height, mode, channels, size):
    image = picture(1, width=width, height=height, mode=mode)
    found = rule(fit, size, channels=channels)(image)
    assert found.shape == (channels, size, size)
    assert found.dtype == torch.uint8


@pytest.mark.parametrize("fit", ["exact", *FITS])
def test_an_image_of_the_right_size_is_left_alone(fit):
    image = picture(2, width=16, height=16)
    assert torch.equal(rule(fit)(image).permute(1, 2, 0), torch.from_numpy(np.array(image)))


@pytest.mark.parametrize(("width", "height"), [(37, 21), (21, 37), (100, 17), (9, 15)])
def test_crop_is_resize_of_the_shorter_side_then_center_crop(width, height):
    image = picture(3, width=width, height=height)
    published = v2.Compose([v2.Resize(16, InterpolationMode.BILINEAR), v2.CenterCrop(16)])
    assert np.array_equal(rule("crop")(image).permute(1, 2, 0), np.array(published(image)))


def test_squash_keeps_all_of_the_image_and_crop_only_its_center():
    halves = np.zeros((16, 32), np.uint8)
    halves[:, :4] = 255
    image = Image.fromarray(halves)
    assert rule("squash", channels=1)(image)[0, :, :1].min() == 255
    assert rule("crop", channels=1)(image).max() == 0


def test_pad_keeps_proportions_on_black():
    found = rule("pad", channels=1)(Image.new("L", (40, 20), 200))[0]
    assert (found == 200).nonzero().amin(0).tolist() == [4, 0]
    assert int((found == 200).sum()) == 8 * 16
    assert int((found == 0).sum()) == 8 * 16


def test_padding_frames_an_image_of_the_inner_size_without_touching_it():
    image = picture(4, width=28, height=28, mode="L")
    found = rule("pad", 32, channels=1, padding=2)(image)[0].numpy()
    assert np.array_equal(found[2:-2, 2:-2], np.array(image))
    found[2:-2, 2:-2] = 0
    assert found.max() == 0


def test_exact_refuses_another_size_and_says_what_to_do():
    with pytest.raises(DataError, match=r"12x9 pixels where exactly 16x16.*squash"):
        rule("exact")(picture(5, width=12, height=9))


def test_transparency_shows_white_in_every_way_to_store_it():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    palette = Image.new("P", (8, 8))
    palette.info["transparency"] = 0
    keyed = Image.new("RGB", (8, 8), (10, 20, 30))
    keyed.info["transparency"] = (10, 20, 30)
    for image in (clear, clear.convert("LA"), palette, keyed):
        assert rule("exact", 8)(image).min() == 255
    half = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert rule("exact", 8)(half).unique().tolist() == [127]


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.array([0, 128, 129, 257, 0x8000, 0xFFFF], np.uint16)
    wide = np.resize(values, (8, 8))
    expected = np.rint(wide / 257).astype(np.uint8)
    assert np.array_equal(gray(wide), expected)
    graymap = Image.open(io.BytesIO(b"P5 8 8 65535\n" + wide.astype(">u2").tobytes()))
    assert graymap.mode == "I"
    assert np.array_equal(rule("exact", 8, channels=1)(graymap)[0], expected)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
@pytest.mark.parametrize("suffix", ["tiff", ""])
def test_pixels_of_unknown_range_are_refused(kind, suffix, tmp_path):
    image = Image.fromarray(np.full((8, 8), 200, kind))
    if suffix:
        image.save(tmp_path / f"x.{suffix}")
        image = Image.open(tmp_path / f"x.{suffix}")
    made = rule("exact", 8, channels=1)
    with pytest.raises(DataError, match=r"to 200 of 32 bits have no known range; .*--white"):
        made(image)
    assert "go from 200 to 200: say what is white, `--white 255`" in range_fault([image])
    assert made.model_copy(update={"white": 255.0})(image).unique().tolist() == [200]
    assert suggest_rule([(8, 8, kind_of(image))]).channels == 1


def test_what_is_not_finite_has_no_range_to_tell():
    assert range_fault([Image.fromarray(np.full((8, 8), np.nan, np.float32))]) is None


def test_a_few_pixels_may_be_brighter_than_white():
    values = np.full((20, 20), 4095, np.uint16)
    values[:2, :2] = 60_000  # 1 %
    made = rule("exact", 20, channels=1).model_copy(update={"white": 4095.0})
    assert made(Image.fromarray(values)).unique().tolist() == [255]
    values[2, 2] = 60_000
    with pytest.raises(DataError, match=r"pixels from 4095 to 60000, .* raise white"):
        made(Image.fromarray(values))
    with pytest.raises(DataError, match="pixels from -1 to 0, where 0 is black; store"):
        made(Image.fromarray(np.resize(np.array([-1, 0], np.int32), (20, 20))))


def test_transparency_of_sixteen_bits_is_white():
    values = np.resize(np.array([0, 1000], np.uint16), (8, 8))
    content = io.BytesIO()
    Image.fromarray(values).save(content, "png", transparency=1000)
    shown = rule("exact", 8, channels=1)(Image.open(content))[0].numpy()
    assert np.array_equal(shown == 255, values == 1000)
    keyed = sixteen_bits(60_000, color=True)
    keyed.info["transparency"] = (0, 0, 0)
    assert rule("exact", 8)(keyed)[:, 0, 0].tolist() == [255] * 3
    keyed = sixteen_bits(60_000, color=True)
    keyed.info["transparency"] = (60_000, 60_000, 60_000)
    assert rule("exact", 8)(keyed)[:, 7, 7].tolist() == [255] * 3


def test_one_bit_is_black_and_white():
    assert gray(np.eye(8, dtype=bool)).unique().tolist() == [0, 255]


def test_gray_to_color_repeats_and_color_to_gray_weighs():
    assert torch.equal(*rule("exact", 8)(Image.new("L", (8, 8), 77))[:2])
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert rule("exact", 8, channels=1)(red).unique().tolist() == [round(0.299 * 255)]


def test_images_go_upright_as_their_exif_says():
    image = picture(6, width=16, height=16)
    turned = image.transpose(Image.Transpose.ROTATE_90)  # what a camera on its side stores
    turned.getexif()[0x0112] = 6
    assert torch.equal(rule("exact")(turned), rule("exact")(image))


def test_a_tensor_is_treated_as_its_image():
    image = picture(7, width=30, height=22)
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for fit in FITS:
        assert torch.equal(rule(fit)(tensor), rule(fit)(image))
    assert torch.equal(rule("crop")(tensor[:1]), rule("crop")(Image.fromarray(tensor[0].numpy())))


def test_a_tensor_that_is_no_image_is_refused():
    for tensor in (torch.zeros(3, 8, 8), torch.zeros(8, 8, dtype=torch.uint8)):
        with pytest.raises(DataError, match="is not an image"):
            rule("squash")(tensor)


def test_impossible_rules_are_refused():
    sizes = ({"size": 7}, {"size": 513}, {"padding": 2}, {"fit": "pad", "padding": 8})
    for fields in (*sizes, {"channels": 2}, {"fit": "stretch"}):
        with pytest.raises(pydantic.ValidationError):
            Preprocessing(**({"channels": 3, "size": 16} | fields))


def test_a_rule_survives_json():
    made = rule("pad", 32, channels=1, padding=2)
    assert Preprocessing.parse(made.dump(), where="test") == made


def test_what_suits_follows_the_images():
    assert suggest_rule([(28, 28, "L")] * 3) == rule("crop", 28, channels=1)
    assert suggest_rule([(28, 28, "L"), (28, 28, "RGB")]).channels == 3
    assert suggest_rule([(640, 480, "RGB"), (70, 500, "RGB"), (90, 80, "RGB")]).size == 64
    assert suggest_rule([(1024, 1024, "RGB")]).size == 128
    assert suggest_rule([(10, 12, "L")]).size == 8
    assert suggest_rule([(640, 480, "RGB")], size=48).size == 48


def test_a_broken_exif_block_is_none():
    content = encoded(picture(8, width=16, height=16))
    chunk = b"eXIf" + b"\0\x08\0\x02\x01\x12\0\x03"
    size, check = (len(chunk) - 4).to_bytes(4, "big"), zlib.crc32(chunk).to_bytes(4, "big")
    broken = Image.open(io.BytesIO(content[:33] + size + chunk + check + content[33:]))
    assert torch.equal(rule("exact")(broken), rule("exact")(picture(8, width=16, height=16)))
    with pytest.raises(OSError, match="truncated"):  # but a broken image is one
        rule("exact")(Image.open(io.BytesIO(content[:200])))


@pytest.mark.parametrize(("shape", "long"), [((1, 20_000), 0), ((20_000, 3), 1)])
def test_a_long_image_takes_no_more_memory_than_its_centre(shape, long):
    values = np.zeros(shape, np.uint8)
    values[
        tuple(slice(side * 2 // 5, side * 3 // 5) if side > 3 else slice(None) for side in shape)
    ] = 90
    with bounded(memory=64 << 20):
        found = rule("crop", 128, channels=1)(Image.fromarray(values))
    assert (found == 90).all()


def test_a_long_image_is_cut_where_a_shorter_one_is():
    image = picture(9, width=200, height=24)
    whole = image.resize((16 * 200 // 24, 16), Image.Resampling.BILINEAR)
    left = round((whole.width - 16) / 2)
    expected = np.array(whole.crop((left, 0, left + 16, 16))).astype(int)
    assert abs(rule("crop")(image).permute(1, 2, 0).numpy() - expected).max() <= 3


@pytest.mark.parametrize(
    ("values", "white"),
    [
        (np.arange(64, dtype=np.uint16) * 65, 4095),
        (np.arange(64, dtype=np.int32) * 1000, 63_000),
        (np.arange(64, dtype=np.float32) / 63, 1.0),
        (np.arange(64, dtype=np.int32) * 4, 255),
    ],
)
def test_white_says_the_range_of_deep_pixels(values, white):
    made = rule("exact", 8, channels=1).model_copy(update={"white": white})
    expected = np.floor(values.astype(float) * 255 / white + 0.5).reshape(8, 8)
    assert np.array_equal(made(Image.fromarray(values.reshape(8, 8)))[0], expected)
    assert len(np.unique(expected)) == 64
    with pytest.raises(DataError, match="raise white"):
        made.model_copy(update={"white": white / 2})(Image.fromarray(values.reshape(8, 8)))
    assert torch.equal(
        made(picture(1, width=8, height=8)),
        rule("exact", 8, channels=1)(picture(1, width=8, height=8)),
    )


def test_what_is_not_given_is_not_stored():
    assert "white" not in rule("exact").dump()
    made = rule("exact").model_copy(update={"white": 4095.0})
    assert Preprocessing.parse(made.dump(), where="test") == made


def sixteen_bits(top: int, *, color: bool) -> Image.Image:
    """A PNG of 16 bits, whose values go to `top`."""
    values = np.linspace(0, top, 64).astype(">u2").reshape(8, 8, 1).repeat(3 if color else 1, 2)
    chunks = (
        b"IHDR" + struct.pack(">IIBBBBB", 8, 8, 16, 2 if color else 0, 0, 0, 0),
        b"IDAT" + zlib.compress(b"".join(b"\0" + row.tobytes() for row in values)),
        b"IEND",
    )
    sizes = (struct.pack(">I", len(chunk) - 4) for chunk in chunks)
    sums = (struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    body = b"".join(b"".join(parts) for parts in zip(sizes, chunks, sums, strict=True))
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + body))


@pytest.mark.parametrize(
    ("top", "white"), [(0, 255), (255, 255), (1000, 1023), (4095, 4095), (16_000, 16383)]
)
def test_images_that_use_little_of_their_range_are_told(top, white):
    assert f"--white {white}" in range_fault([sixteen_bits(top, color=False)])
    assert "store them with 8 bits" in range_fault([sixteen_bits(top, color=True)])
    bright = [sixteen_bits(60_000, color=color) for color in (False, True)]
    assert [kind_of(image) for image in bright] == ["I;16", "RGB;16"]
    assert range_fault([*bright, sixteen_bits(top, color=False), picture(0)]) is None


@pytest.mark.parametrize("hot", [0, 1, 10])
def test_a_bright_pixel_hides_no_range(hot):
    values = np.linspace(0, 4000, 1600).astype(np.uint16)
    values[:hot] = 65_000
    fault = range_fault([Image.fromarray(values.reshape(40, 40))])
    assert f"--white {65535 if hot > 1 else 4095}" in str(fault)
