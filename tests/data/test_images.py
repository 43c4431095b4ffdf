"""Pictures as tensors: what is decoded and what never is, bounds, transparency, and ranges of values."""

import io
import os
import socket
import struct
import subprocess
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from minegan_lite import few_shot
from minegan_lite.data import images
from minegan_lite.errors import UserError

SHAPE = (3, 8, 8)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def refusal(item, shape=SHAPE, resize=True) -> str:
    with pytest.raises(UserError) as failure:
        images.read_image(item, 4, shape, resize)
    assert "\n" not in str(failure.value)
    return str(failure.value)


# --- what is decoded --------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="a script without a suffix runs nowhere on Windows")
def test_no_picture_starts_a_program(tmp_path, monkeypatch):
    """EPS in a .jpg makes Pillow call Ghostscript, which is shown last, with a stand-in that leaves a trace."""
    programs, pictures, trace = tmp_path / "programs", tmp_path / "pictures", tmp_path / "ran"
    programs.mkdir()
    pictures.mkdir()
    (programs / "gs").write_text(f"#!/bin/sh\ntouch {trace}\nexit 1\n")
    (programs / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # not looked for yet, as in a new process
    paths = [pictures / f"{i}.jpg" for i in range(4)]
    for path in paths:
        path.write_bytes(EPS)
    for source in (pictures, paths):
        with pytest.raises(UserError, match=r"0\.jpg is no readable image"):
            few_shot(source, image_shape=SHAPE, resize=True)
    assert "EPS" in refusal(Image.open(paths[0]))
    assert not trace.exists()
    with pytest.raises(subprocess.CalledProcessError):
        Image.open(paths[0]).load()
    assert trace.exists()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_the_formats_that_are_promised(tmp_path, kind):
    """Whatever the name says, as Pillow does; and from a picture that Pillow has opened."""
    path = tmp_path / "picture.bin"
    Image.new("RGB", (8, 8), (255, 255, 255)).save(path, kind)
    for item in (path, str(path), Image.open(path)):
        torch.testing.assert_close(images.read_image(item, 0, SHAPE, True), torch.ones(SHAPE), rtol=0, atol=2 / 255)
    assert set(images.FORMATS) >= {kind}


def test_a_phones_jpeg_of_several_pictures_is_a_jpeg(tmp_path):
    white = Image.new("RGB", (8, 8), "white")
    white.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[white])
    for item in (tmp_path / "a.jpg", Image.open(tmp_path / "a.jpg")):
        assert images.read_image(item, 0, SHAPE, False).min() > 0.98


def test_only_regular_files_are_opened(tmp_path):
    """A pipe would be waited for without end, a device read without end."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s.png"))
        for path in (tmp_path / "pipe.png", tmp_path / "s.png", Path("/dev/zero")):
            assert f"{path} is a pipe, socket or device" in refusal(path)
    assert "is a folder" in refusal(tmp_path / "folder.png")
    assert "cannot be read (No such file" in refusal(tmp_path / "nothing.png")
    assert "cannot be read (File name too long" in refusal("x" * 300)
    assert "cannot be read (embedded null byte)" in refusal("a\0b")


def test_a_name_with_control_characters_stays_one_line(tmp_path):
    path = tmp_path / "two\nlines\x1b[31m.png"
    path.write_bytes(b"no picture")
    assert "two\\nlines\\x1b[31m.png" in refusal(path)


def png_of_zeros(width: int, height: int, bits: int) -> bytes:
    """A grey PNG as small as it goes, whatever it unpacks to."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = zlib.compress(bytes((1 + -(-width * bits // 8)) * height), 9)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path):
    """Pillow itself warns above 89 million pixels and refuses at twice that: neither is to be seen."""
    path = tmp_path / "bomb.png"
    for width in (images.PIXELS + 8, 100_000_000, 200_000_000):
        path.write_bytes(png_of_zeros(width, 1, 1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert "bomb.png" in refusal(path)


@pytest.mark.parametrize("item", ["file", "picture", "tensor"])
def test_a_picture_that_resizing_would_blow_up_is_refused(tmp_path, item):
    """A few bytes of 100,000×1 pixels, 1,024 of them high, are 10 billion."""
    path = tmp_path / "thread.png"
    path.write_bytes(png_of_zeros(100_000, 1, 8))
    items = {"file": path, "picture": Image.open(path), "tensor": torch.zeros(1, 1, 100_000)}
    assert "100000×1 pixels, to be resized" in refusal(items[item], (1, 1024, 1024))
    assert images.read_image(items[item], 0, (1, 8, 8), True).shape == (1, 8, 8)


# --- transparency -----------------------------------------------------------------------------------------------


def see_through(mode: str) -> Image.Image:
    """Left half opaque black, right half fully transparent over hidden red; in grey, over hidden black."""
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    picture.paste((255, 0, 0, 0), (4, 0, 8, 8))
    if mode in ("RGBA", "LA"):
        return picture.convert(mode)
    if mode == "PA":  # Pillow before 12 loses what is transparent when it makes one
        palette = picture.convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE).convert("PA")
        palette.putalpha(picture.getchannel("A"))
        return palette
    flat = picture.convert("RGB").convert(mode, palette=Image.Palette.ADAPTIVE)
    hidden = flat.getpixel((7, 0))
    buffer = io.BytesIO()
    flat.save(buffer, "PNG", transparency=hidden)
    return Image.open(buffer)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_what_is_transparent_lies_on_white(mode):
    picture = see_through(mode)
    for channels in (1, 3):
        x = images.read_image(picture, 0, (channels, 8, 8), True)
        assert torch.equal(x[:, :, :4], torch.full((channels, 8, 4), -1.0))
        assert torch.equal(x[:, :, 4:], torch.ones(channels, 8, 4))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGB", "L"])
def test_without_converting_what_is_transparent_is_refused(mode):
    channels = 1 if mode == "L" else 3
    line = refusal(see_through(mode), (channels, 8, 8), resize=False)
    assert "on white" in line
    assert "transparent" in line if mode in ("RGB", "L") else f"mode {mode}" in line


def test_half_transparent_is_half_white():
    x = images.read_image(Image.new("RGBA", (8, 8), (0, 0, 0, 128)), 0, SHAPE, True)
    torch.testing.assert_close(x, torch.full(SHAPE, 2 * 127 / 255 - 1), rtol=0, atol=1e-6)


def test_an_opaque_alpha_changes_no_byte():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8))
    expected = images.read_image(picture, 0, SHAPE, True)
    assert torch.equal(images.read_image(picture.convert("RGBA"), 0, SHAPE, True), expected)


# --- values -----------------------------------------------------------------------------------------------------

RAMP = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_an_overshoot_by_rounding_is_clamped(dtype):
    """One step of the dtype just above 1, and of float16 in those wide enough to have come from it."""
    step = torch.finfo(dtype).eps
    for beyond in {step, max(step, 2**-10)}:
        x = (RAMP.double() * (1 + beyond)).to(dtype)
        assert x.max() > 1
        checked = images.checked_images(x, "the images")
        assert checked.dtype == torch.float32
        assert (checked.min(), checked.max()) == (-1, 1)
        inside = x.abs() <= 1
        assert torch.equal(checked[inside], x[inside].float())
        assert torch.equal(images.read_image(x[0], 0, (1, 8, 8), False), checked[0])


def test_a_resampled_target_is_accepted():
    """Upsampling the extremes bicubically and clamping is the user's; the filter's rounding is not."""
    x = torch.ones(2, 1, 9, 9)
    x[:, :, ::2] = -1
    big = torch.nn.functional.interpolate(x, size=(31, 31), mode="bilinear", antialias=True) * (1 + 1e-6)
    assert images.checked_images(big, "the images").abs().max() == 1


@pytest.mark.parametrize(("factor", "digits"), [(1.0011, "1.0011"), (1.05, "1.05"), (127.5, "127.5")])
def test_a_real_overshoot_is_told_with_its_digits(factor, digits):
    with pytest.raises(UserError, match=f"^the target's images must lie .* from -{digits} to {digits}:"):
        images.checked_images(RAMP * factor, "the target's images")
    assert f"image 4 must lie in [−1, 1], got values from -{digits} to {digits}" in refusal(RAMP[0] * factor)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(value):
    spoilt = RAMP.clone()
    spoilt[0, 0, 3, 3] = value
    with pytest.raises(UserError, match="must be finite"):
        images.checked_images(spoilt, "the images")


@pytest.mark.parametrize(
    "x", [RAMP.long(), RAMP > 0, RAMP.to(torch.complex64), RAMP[:0], torch.zeros(0, dtype=torch.uint8)]
)
def test_what_is_no_image_is_refused(x):
    with pytest.raises(UserError, match="must be uint8, or floats"):
        images.checked_images(x, "the images")


def test_bytes_are_converted_and_signed_floats_kept():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        checked = images.checked_images(torch.tensor([0, 51, 255], dtype=torch.uint8), "the images")
        torch.testing.assert_close(checked, torch.tensor([-1.0, -0.6, 1.0]))
        assert torch.equal(images.checked_images(RAMP, "the images"), RAMP)


def test_floats_without_a_value_below_zero_are_warned_of():
    with pytest.warns(images.Unsigned, match=r"^the images hold no value below 0: .* give 2 \* images - 1$") as told:
        assert torch.equal(images.checked_images(RAMP.abs(), "the images"), RAMP.abs())
    assert [warning.filename for warning in told] == [__file__]
