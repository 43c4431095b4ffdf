"""Sampling: seeds, averages, and a source that stays as it was."""

import pytest
import torch
from tiny import everything, same, tiny_gan, tiny_target

from minegan_lite.errors import UserError
from minegan_lite.mined import Unmined, input_prior
from minegan_lite.miner import Miner
from minegan_lite.nn import at_once, draw, frozen
from minegan_lite.training import mine


@pytest.fixture(scope="module")
def mined():
    return mine(tiny_gan(), tiny_target(), steps=5, batch=4, progress=False, device="cpu")


def test_sample_is_the_generator_behind_the_miner(mined):
    u, z = mined.latents(7, seed=3)
    assert u.shape == z.shape == (7, 4)
    generator = mined.gan.generator.eval()
    with torch.no_grad():
        torch.testing.assert_close(z, mined.miners_average[0](u))
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


@pytest.mark.parametrize("n", [1.5, True, "3", 2**63])
def test_a_number_of_samples_is_a_whole_number(mined, n):
    with pytest.raises(UserError, match="whole number"):
        mined.sample(n)
    with pytest.raises(UserError, match="the seed must be a whole number"):
        mined.sample(2, seed=-1)


def test_large_images_are_drawn_a_few_at_a_time():
    assert [at_once((3, side, side)) for side in (1, 28, 128, 512, 4096)] == [500, 500, 32, 2, 1]

    class Large(torch.nn.Module):
        image_shape, largest = (1, 512, 512), 0

        def forward(self, z):
            self.largest = max(self.largest, len(z))
            return z[:, :1, None, None].expand(-1, 1, 512, 512)

    large, z = Large(), torch.randn(5, 2)
    assert torch.equal(draw(large, z)[:, 0, 0, 0], z[:, 0])
    assert large.largest == 2
