"""The autoencoder's two terms against torch.distributions, and that it learns what is there to learn."""

from dataclasses import replace

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from minegan_lite.transfer import adapt, vae
from tests.tiny import PlainGenerator, tiny_gan, tiny_target


def test_the_divergence_is_torchs():
    mean, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(vae.divergence(mean, log_variance), expected)


def test_the_reconstruction_is_a_bernoullis():
    fake, real = torch.rand(3, 1, 4, 4) * 1.8 - 0.9, (torch.rand(3, 1, 4, 4) > 0.5).float() * 2 - 1
    expected = -Bernoulli(probs=(fake + 1) / 2).log_prob((real + 1) / 2).flatten(1).sum(1)
    torch.testing.assert_close(vae.reconstruction(fake, real), expected, atol=1e-4, rtol=1e-4)
    assert vae.reconstruction(real, real).isfinite().all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (2, 1, 1), (1, 6, 10)])
def test_the_encoder_takes_any_image(shape):
    mean, log_variance = vae.Encoder(shape, 9)(torch.randn(2, *shape))
    assert mean.shape == log_variance.shape == (2, 9)


def test_samples_come_to_the_target():
    """All targets are one image: samples must become it."""
    one = tiny_target(1).sign()
    gan = replace(tiny_gan(), generator=PlainGenerator())
    mined = adapt("vae", gan, one.repeat(8, 1, 1, 1), steps=400, generator_lr=5e-3, batch=16, device="cpu",
                  progress=False)  # fmt: skip
    before = (gan.generator.eval()(torch.randn(100, 4)) - one).abs().mean()
    after = (mined.sample(100, ema=False) - one).abs().mean()
    assert after < 0.5 * before
    losses = [entry["reconstruction_loss"] + entry["divergence_loss"] for entry in mined.history]
    assert losses[-1] < 0.7 * losses[0]
