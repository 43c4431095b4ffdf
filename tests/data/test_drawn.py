"""Drawn targets: a list of seeds that is checked, faces that are drawn once and kept, and their terms."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from minegan_lite import data, published
from minegan_lite.data import drawn
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.networks.mobile_stylegan import Cut, Generator
from minegan_lite.nn import seeded
from minegan_lite.published import NON_COMMERCIAL


@pytest.fixture
def generator() -> Cut:
    """A MobileStyleGAN's cut of random weights, 16×16."""
    whole = Generator((8, 8, 8, 8), latent_dim=6, style_dim=8, depth=2)
    return Cut(whole, 16, nn.Conv2d(8, 3, 1)).eval()


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A short list in place of the shipped one, and an empty cache."""
    facts = {"truncation": 0.5, "women": {"seeds": [3, 8, 5, 11, 20]}, "men": {"seeds": [1]}, "seniors": {"seeds": [2]}}
    content = json.dumps(facts).encode()
    (tmp_path / "ffhq-drawn.json").write_bytes(content)
    monkeypatch.setattr(drawn, "FOLDER", tmp_path)
    monkeypatch.setattr(drawn, "SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    drawn.read_list.cache_clear()
    yield facts
    drawn.read_list.cache_clear()


def test_each_face_is_its_seeds_own(generator, listed):
    """Against one latent at a time, drawn here."""
    images = drawn.load_drawn("women", generator)
    assert (images.dtype, images.shape) == (torch.uint8, (5, 3, 16, 16))
    for image, seed in zip(images, listed["women"]["seeds"], strict=True):
        z = torch.randn(1, 6, generator=seeded(seed))
        with torch.no_grad():
            expected = (generator(z, truncation=0.5).clamp(-1, 1) + 1) * 127.5
        assert (image - expected[0]).abs().max() < 0.6  # half a grey value, and rounding


def test_faces_are_drawn_once_and_kept_whole(generator, listed, monkeypatch, tmp_path):
    first = drawn.load_drawn("women", generator)
    assert [path.suffix for path in (tmp_path / "cache" / "drawn").iterdir()] == [".safetensors"]
    monkeypatch.setattr(drawn, "draw", lambda *_: pytest.fail("drawn again"))
    assert torch.equal(drawn.load_drawn("women", generator), first)


@pytest.mark.parametrize("harm", ["cut", "empty", "another"])
def test_what_is_kept_and_damaged_is_drawn_again(generator, listed, tmp_path, harm):
    first = drawn.load_drawn("women", generator)
    (kept,) = (tmp_path / "cache" / "drawn").iterdir()
    content = kept.read_bytes()
    import safetensors.torch

    another = safetensors.torch.save({"images": first[:2].contiguous()})
    kept.write_bytes({"cut": content[:-7], "empty": b"", "another": another}[harm])
    assert torch.equal(drawn.load_drawn("women", generator), first)
    assert kept.read_bytes() == content


def test_another_generator_has_faces_of_its_own(generator, listed, tmp_path):
    first = drawn.load_drawn("women", generator)
    with torch.no_grad():
        generator.head.bias.add_(0.5)
    assert not torch.equal(drawn.load_drawn("women", generator), first)
    assert len(list((tmp_path / "cache" / "drawn").iterdir())) == 2


def test_few_shot_splits_them_and_says_their_terms(generator, listed, monkeypatch):
    asked = []

    def load(name: str, with_critic: bool) -> GAN:
        asked.append((name, with_critic))
        return GAN(generator, None, StandardNormal(6), name)

    monkeypatch.setattr(published, "load", load)
    target = data.few_shot("ffhq-drawn:women", n=3, seed=1)
    assert (target.train.shape, target.held_out.shape) == ((3, 3, 16, 16), (2, 3, 16, 16))
    assert (target.name, target.origin, target.licence) == ("ffhq-drawn:women", "drawn", NON_COMMERCIAL)
    again = data.few_shot(**target.request)
    assert torch.equal(again.train, target.train)
    assert set(asked) == {("ffhq-mobilestylegan-64", False)}
    assert drawn.GENERATOR in published.names()
    together = torch.cat([target.train, target.held_out])
    everything = drawn.load_drawn("women").float() / 127.5 - 1
    torch.testing.assert_close(together.sum((1, 2, 3)).sort().values, everything.sum((1, 2, 3)).sort().values)


def test_unknown_kinds_are_refused():
    for kind in ("children", "", "women:men"):
        with pytest.raises(UserError, match="ffhq-drawn:women, ffhq-drawn:men, ffhq-drawn:seniors"):
            data.few_shot(f"ffhq-drawn:{kind}")
    with pytest.raises(UserError, match="no drawn faces ''"):
        data.few_shot("ffhq-drawn")


@pytest.mark.parametrize("harm", ["a bit", "missing"])
def test_a_damaged_list_is_refused(listed, generator, tmp_path, harm):
    path = tmp_path / "ffhq-drawn.json"
    content = path.read_bytes()
    path.unlink()
    if harm == "a bit":
        path.write_bytes(content.replace(b"11", b"12"))
    with pytest.raises(UserError, match=r"ffhq-drawn\.json .*reinstall minegan-lite"):
        drawn.load_drawn("women", generator)
    assert not (tmp_path / "cache").exists()


def test_the_shipped_list_is_of_three_kinds_that_share_nobody():
    drawn.read_list.cache_clear()
    listed = drawn.read_list()
    assert listed["generator"] == "ffhq-mobilestylegan-64"
    assert 0.5 <= listed["truncation"] < 1
    for kind, (least, sure) in {"women": (300, 0.9), "men": (300, 0.9), "seniors": (150, 0.5)}.items():
        seeds, probabilities = listed[kind]["seeds"], listed[kind]["probabilities"]
        assert len(seeds) == len(probabilities) >= least
        assert min(probabilities) >= sure
        assert seeds == sorted(set(seeds))
    everybody = [seed for kind in drawn.KINDS for seed in listed[kind]["seeds"]]
    assert len(set(everybody)) == len(everybody)
    notice = (drawn.FOLDER / "ffhq-drawn.md").read_text("utf-8")
    numbers = [len(listed[kind]["seeds"]) for kind in drawn.KINDS]
    assert "{} women, {} men and {} seniors".format(*numbers) in notice
    assert "{}, {} and {} faces of adults".format(*numbers) in data.few_shot.__doc__
    assert "not for commercial use" in notice


@pytest.mark.parametrize("first", ["files", "nn"])
def test_whatever_is_imported_first(first):
    """data is imported by the module that writes files, which drawn targets need."""
    done = subprocess.run(
        [sys.executable, "-c", f"import minegan_lite.{first}"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
