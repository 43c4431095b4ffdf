"""Images of loaded checkpoints: by class, truncated, and the same for the same seed."""

import inspect

import pytest
import torch

from minegan_lite import UserError
from minegan_lite import nn as networks
from minegan_lite.checkpoints import load, sample, sampling
from minegan_lite.networks.sngan import Generator as SNGAN
from tests.checkpoints.files import FILES

TRUNCATING = {
    "biggan-deep-hf", "biggan-pytorch", "biggan-studiogan", "mobilestylegan-openvino", "stylegan2-ada",
    "stylegan2-rosinality", "stylegan-rosinality",
}  # fmt: skip


def gan(name):
    return load(FILES[name]())


@pytest.mark.parametrize("name", FILES)
def test_every_layout_is_sampled_and_truncated_where_it_can_be(name):
    source = gan(name)
    images = sample(source, 9, seed=1)
    assert images.shape == (9, *source.generator.image_shape)
    assert images.isfinite().all()
    assert torch.equal(images, sample(source, 9, seed=1))
    assert not torch.equal(images, sample(source, 9, seed=2))
    assert sampling.truncates(source.generator) == (name in TRUNCATING)
    if name in TRUNCATING:
        assert not torch.allclose(images, sample(source, 9, seed=1, truncation=0.4))
    else:
        with pytest.raises(UserError, match="knows no truncation"):
            sample(source, 9, truncation=0.4)


def test_unconditional_images_are_those_of_the_prior():
    source = gan("sngan-mimicry")
    z = source.prior(10, torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert torch.allclose(sample(source, 10, seed=4), source.generator(z), atol=1e-6)


@pytest.mark.parametrize("name", ["biggan-pytorch", "sngan-chainer"])
def test_classes_follow_one_another_in_equal_parts(name):
    source = gan(name)
    z = source.prior(5, torch.Generator().manual_seed(0))
    labels = torch.tensor([2, 2, 2, 0, 0])
    with torch.no_grad():
        expected = source.generator(z, source.generator.embed(labels))
    assert torch.allclose(sample(source, 5, classes=[2, 0]), expected, atol=1e-6)


def test_without_classes_they_are_drawn_and_the_latents_are_the_same():
    source = gan("sngan-chainer")
    drawn = sample(source, 8, seed=3)
    each = [sample(source, 8, seed=3, classes=[i]) for i in range(len(source.generator.classes))]
    chosen = {next(i for i, images in enumerate(each) if torch.allclose(images[k], drawn[k])) for k in range(8)}
    assert len(chosen) > 1


def test_biggans_latents_are_cut_and_scaled(monkeypatch):
    seen = []
    for name, statistics in (("biggan-pytorch", None), ("biggan-deep-hf", 0.5)):
        source = gan(name)
        forward = source.generator.forward

        def watched(z, embedding, truncation=None, forward=forward):
            seen.append((z, truncation))
            return forward(z, embedding) if truncation is None else forward(z, embedding, truncation)

        watched.__signature__ = inspect.signature(forward)
        monkeypatch.setattr(source.generator, "forward", watched)
        sample(source, 400, truncation=0.5)
        z = torch.cat([z for z, _ in seen])
        assert {truncation for _, truncation in seen} == {statistics}
        assert z.shape[0] == 400
        assert 0.95 < z.abs().max() <= 1.0
        # a normal distribution cut at ±2 has the standard deviation 0.8796
        assert abs(z.std() - 0.5 * 0.8796) < 0.02
        seen.clear()


def test_large_images_are_drawn_a_few_at_a_time(monkeypatch):
    source, forward = gan("sngan-mimicry"), SNGAN.forward
    sizes = []
    monkeypatch.setattr(SNGAN, "forward", lambda self, z: sizes.append(len(z)) or forward(self, z))
    whole = sample(source, 5)
    side = source.generator.image_shape[-1]
    for pixels, expected in ((2 * side**2 + 1, [2, 2, 1]), (1, [1] * 5)):
        sizes.clear()
        monkeypatch.setattr(networks, "PIXELS", pixels)
        assert torch.allclose(sample(source, 5), whole, atol=1e-6)
        assert sizes == expected


def test_a_stylegan_draws_towards_its_mean():
    source = gan("stylegan2-rosinality")
    z = source.prior(3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = source.generator(z, truncation=0.3)
    assert torch.allclose(sample(source, 3, truncation=0.3), expected, atol=1e-6)


def test_the_generator_stays_as_it_was():
    source = gan("biggan-pytorch")
    source.generator.train()
    before = {key: x.clone() for key, x in source.generator.state_dict().items()}
    sample(source, 2)
    assert source.generator.training
    assert all(torch.equal(x, before[key]) for key, x in source.generator.state_dict().items())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("sngan-mimicry", {"n": 0}, "at least 1"),
        ("sngan-mimicry", {"classes": [0]}, "unconditional"),
        ("sngan-chainer", {"classes": [0, 99]}, "there is no class 99: the classes are 0 to"),
        ("sngan-chainer", {"classes": [-1]}, "there is no class -1"),
        ("sngan-chainer", {"classes": [0, 1, 2], "n": 2}, "2 images cannot show 3 classes"),
        ("sngan-chainer", {"classes": []}, "0 classes"),
        ("biggan-pytorch", {"truncation": 0.0}, "truncation is above 0"),
        ("stylegan2-ada", {"truncation": 1.5}, "truncation is above 0"),
        ("stylegan2-ada", {"truncation": float("nan")}, "truncation is above 0"),
    ],
)
def test_what_cannot_be_is_refused(name, options, words):
    with pytest.raises(UserError, match=words):
        sample(gan(name), **{"n": 4, **options})
