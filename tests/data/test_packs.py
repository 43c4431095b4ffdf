"""The packs of drawn heads: what they hold, that they are checked, how few_shot draws from them, and their terms."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from minegan_lite import data
from minegan_lite.data import packs
from minegan_lite.errors import UserError

ROOT = Path(packs.__file__).parents[2]


@pytest.fixture(autouse=True)
def fresh():
    """Each test reads anew."""
    packs.load_pack.cache_clear()
    yield
    packs.load_pack.cache_clear()


@pytest.mark.parametrize(("name", "count"), [("fluent-heads", 438), ("noto-faces", 93)])
def test_a_pack_holds_different_heads_on_white(name, count):
    images = packs.load_pack(name)
    assert (images.dtype, images.shape) == (torch.uint8, (count, 3, 64, 64))
    assert len({image.numpy().tobytes() for image in images}) == count
    # a head fills the middle, in colours, and white is seen around most of them
    shares = (images > 245).all(1).double().mean((1, 2))
    assert shares.max() < 0.6
    assert shares.median() > 0.1
    middle = images[:, :, 20:44, 20:44].double()
    assert ((middle.amax(1) - middle.amin(1)).mean((1, 2)) > 5).all()


@pytest.mark.parametrize("name", packs.PACKS)
def test_a_cell_of_the_sheet_is_a_picture(name):
    """Against Pillow's own crop."""
    images = packs.load_pack(name)
    with Image.open(packs.FOLDER / f"{name}.webp") as sheet:
        for i in (0, 1, 19, 20, 45, len(images) - 1):
            left, top = i % 20 * 64, i // 20 * 64
            cell = sheet.convert("RGB").crop((left, top, left + 64, top + 64))
            assert images[i].permute(1, 2, 0).numpy().tobytes() == cell.tobytes()


def test_few_shot_draws_by_seed_and_holds_the_others_out():
    target = data.few_shot("fluent-heads", n=25, seed=3)
    assert (target.train.shape, target.held_out.shape) == ((25, 3, 64, 64), (413, 3, 64, 64))
    assert (target.name, target.origin, target.digit, target.seed) == ("fluent-heads", "pack", None, 3)
    assert target.licence.startswith("MIT")
    assert data.few_shot("noto-faces").licence.startswith("Apache-2.0")
    together = torch.cat([target.train, target.held_out])
    everything = packs.load_pack("fluent-heads").float() / 127.5 - 1
    torch.testing.assert_close(
        together.flatten(1).sum(1).sort().values, everything.flatten(1).sum(1).sort().values, atol=1e-2, rtol=0
    )
    assert len({image.numpy().tobytes() for image in together}) == 438
    again = data.few_shot(**target.request)
    assert torch.equal(again.train, target.train)
    assert torch.equal(again.held_out, target.held_out)
    assert not torch.equal(data.few_shot("fluent-heads", n=25, seed=4).train, target.train)


def test_by_default_four_fifths_train():
    target = data.few_shot("noto-faces")
    assert (len(target.train), len(target.held_out)) == (74, 19)


def test_other_sizes_are_asked_for():
    with pytest.raises(UserError, match=r"the generator draws \(3, 32, 32\).*resize=True"):
        data.few_shot("noto-faces", image_shape=(3, 32, 32))
    target = data.few_shot("noto-faces", n=10, image_shape=(3, 32, 32), resize=True)
    large = data.few_shot("noto-faces", n=10)
    assert target.train.shape == (10, 3, 32, 32)
    halved = torch.nn.functional.interpolate(large.train, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(target.train, halved.clamp(-1, 1), atol=1e-5, rtol=0)
    assert data.few_shot(**target.request).train.shape == (10, 3, 32, 32)


def test_more_than_there_are_and_digits_are_refused():
    with pytest.raises(UserError, match="noto-faces holds 93 images: at most 91 to mine with, 92 were asked for"):
        data.few_shot("noto-faces", n=92)
    with pytest.raises(UserError, match="digits go with"):
        data.few_shot("noto-faces", digit=3)
    with pytest.raises(UserError, match="unknown pack 'none': there are fluent-heads, noto-faces"):
        packs.load_pack("none")


@pytest.mark.parametrize("harm", ["a bit", "cut", "empty", "missing"])
def test_a_damaged_pack_is_refused(monkeypatch, tmp_path, harm):
    content = bytearray((packs.FOLDER / "noto-faces.webp").read_bytes())
    content[len(content) // 2] ^= 1
    harmed = {"a bit": content, "cut": content[:1000], "empty": b""}
    if harm in harmed:
        (tmp_path / "noto-faces.webp").write_bytes(harmed[harm])
    monkeypatch.setattr(packs, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"noto-faces\.webp .*reinstall minegan-lite") as caught:
        data.few_shot("noto-faces")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", packs.PACKS)
def test_the_notice_names_the_file_and_its_terms(name):
    notice = (packs.FOLDER / f"{name}.md").read_text("utf-8")
    content = (packs.FOLDER / f"{name}.webp").read_bytes()
    assert f"| `{name}.webp` | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |" in notice
    assert packs.PACKS[name].sha256 == hashlib.sha256(content).hexdigest()
    licence, _, holder = packs.PACKS[name].licence.partition(" ")
    text = (packs.FOLDER / f"{name}-LICENSE").read_text("utf-8")
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License"}[licence] in text
    assert holder.strip("()").split(", ")[1].split()[0] in notice
    for word in ("Licence", "Taken from", "What was changed", f"`{name}-LICENSE`"):
        assert word in notice


def test_a_bare_process_asks_no_network(tmp_path):
    """No data folder, an empty cache, and every connection refused: the heads are there all the same."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MINEGAN_")}
    environment |= {"MINEGAN_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
    code = (
        "import socket\n"
        "def refuse(*args, **kwargs): raise SystemExit('a connection was tried')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import minegan_lite.data as d; print(d.few_shot('fluent-heads', n=25).origin)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "pack\n", "")
    assert list(tmp_path.iterdir()) == []
