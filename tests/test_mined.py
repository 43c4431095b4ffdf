"""Sampling: seeds, averages, and a source that stays as it was."""

import pytest
import torch
from tiny import everything, same, tiny_gan, tiny_target

from minegan_lite.errors import UserError
from minegan_lite.mined import Unmined, frozen, input_prior
from minegan_lite.miner import Miner
from minegan_lite.training import mine


@pytest.fixture(scope="module")
def mined():
    return mine(tiny_gan(), tiny_target(), steps=5, batch=4, progress=False, device="cpu")


def test_sample_is_the_generator_behind_the_miner(mined):
    u, z = mined.latents(7, seed=3)
    assert u.shape == z.shape == (7, 4)
    generator = mined.gan.generator.eval()
    with torch.no_grad():
        torch.testing.assert_close(z, mined.miner_average(u))
        torch.testing.assert_close(mined.sample(7, seed=3), generator(z))
    generator.train()


def test_one_seed_one_sample_whatever_came_before(mined):
    first = mined.sample(6, seed=1)
    mined.sample(3, seed=2), torch.randn(5)
    assert torch.equal(first, mined.sample(6, seed=1))
    assert not torch.equal(first, mined.sample(6, seed=2))


def test_raw_and_averaged_weights_differ_and_the_default_is_averaged(mined):
    assert torch.equal(mined.sample(4), mined.sample(4, ema=True))
    assert not torch.equal(mined.sample(4), mined.sample(4, ema=False))


def test_presets_that_know_no_average_sample_raw_weights():
    mined = mine(tiny_gan(), tiny_target(), preset="official", steps=3, batch=4, progress=False, device="cpu")
    assert torch.equal(mined.sample(4), mined.sample(4, ema=False))
    assert not torch.equal(mined.sample(4), mined.sample(4, ema=True))


def test_sampling_changes_nothing_in_the_source(mined):
    before = everything(mined.gan.generator)
    mined.sample(8)
    assert same(before, everything(mined.gan.generator))


def test_unmined_is_the_source_itself():
    gan = tiny_gan()
    before = everything(gan.generator)
    images = Unmined(gan).sample(5, seed=4)
    assert same(before, everything(gan.generator))
    gan.generator.eval()
    torch.testing.assert_close(images, gan.generator(gan.prior(5, torch.Generator().manual_seed(4))).detach())


def test_frozen_restores_modes_and_flags_also_after_an_error():
    generator = tiny_gan().generator
    generator.norm.eval()
    generator.norm.weight.requires_grad_(False)
    before = everything(generator)

    def fail_inside():
        with frozen(generator):
            assert not any(part.training for part in generator.modules())
            assert not any(weight.requires_grad for weight in generator.parameters())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert same(before, everything(generator))


def test_a_miner_of_another_input_length_draws_its_own_prior():
    gan = tiny_gan()
    assert input_prior(gan, Miner((4, 4))) is gan.prior
    assert input_prior(gan, Miner((2, 4))).dim == 2


@pytest.mark.parametrize("n", [0, -1])
def test_no_samples_is_an_error(mined, n):
    with pytest.raises(UserError, match="at least 1"):
        mined.sample(n)
