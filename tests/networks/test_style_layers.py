"""Progressive GAN, StyleGAN and StyleGAN2, and what they share, at tiny sizes."""

import math

import pytest
import torch
from torch.nn import functional as F

from minegan_lite import GAN, StandardNormal, UserError, mine, zoo
from minegan_lite.networks import progan, stylegan, stylegan2
from minegan_lite.networks.style_layers import (
    EqualConv,
    EqualLinear,
    MinibatchStddev,
    Resample,
    in_style_space,
    pixel_norm,
    widths,
)
from tests.close import close, terms
from tests.tiny import everything, same

CHANNELS, LATENT = (6, 5, 4), 7


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def a_gan(module) -> GAN:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size = {"latent_dim": LATENT, "depth": 2} if module is not progan else {"latent_dim": LATENT}
        size |= {"style_dim": LATENT} if module is stylegan2 else {}
        networks = module.Generator(CHANNELS, **size).eval(), module.Critic(CHANNELS).eval()
    return GAN(*networks, StandardNormal(LATENT), "tiny")


def test_widths_are_the_papers():
    assert widths(1024) == (512, 512, 512, 512, 256, 128, 64, 32, 16)  # Karras et al. 2018, Table 2
    assert widths(256, 32768) == (512, 512, 512, 512, 512, 256, 128)
    assert widths(8, base=64, most=9) == (9, 8)
    for resolution in (0, 2, 48):
        with pytest.raises(UserError, match="power of two"):
            widths(resolution)


def test_equalised_layers_start_with_outputs_of_the_gains_size():
    x = normal(500, 64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for layer, inputs in (
            (EqualLinear(64, 64, 3.0, lr_mul=0.01), x),
            (EqualConv(64, 64, 1, 3.0), x[:, :, None, None]),
        ):
            assert layer(inputs).std().item() == pytest.approx(3, rel=0.1)
            before = layer.weight.clone()
            layer.reset_parameters()
            assert not torch.equal(layer.weight, before)
    assert torch.all(EqualLinear(2, 3, bias=1.0).bias == 1)


def test_after_scales_the_bias_too():
    torch.manual_seed(0)
    layer = EqualLinear(8, 4, gain=2.0, bias=1.0, after=True)
    expected = (normal(3, 8) @ layer.weight.T + 1) * 2 / math.sqrt(8)
    close(layer(normal(3, 8)), expected, 8)


@pytest.mark.parametrize("reciprocal", [False, True])
def test_pixel_norm_makes_the_mean_square_one(reciprocal):
    x = pixel_norm(7 * normal(3, 5, 2, 2), reciprocal)
    assert torch.allclose(x.square().mean(1), torch.ones(3, 2, 2))
    assert pixel_norm(torch.zeros(1, 4), reciprocal).isfinite().all()


def test_minibatch_deviation_by_hand():
    """Four images of one pixel: 0, 1, 4, 9."""
    x = torch.tensor([0.0, 1, 4, 9])[:, None, None, None]
    cases = {
        MinibatchStddev(2): [2, 4, 2, 4],  # pairs (0, 4) and (1, 9)
        MinibatchStddev(2, contiguous=True): [math.sqrt(0.5), math.sqrt(0.5), math.sqrt(12.5), math.sqrt(12.5)],
        MinibatchStddev(None): [math.sqrt(12.25)] * 4,  # mean 3.5
        MinibatchStddev(3): [2, 4, 2, 4],  # 3 does not divide 4, 2 does
        MinibatchStddev(3, contiguous=True): [math.sqrt(49 / 3)] * 4,  # then the whole batch
    }
    for layer, expected in cases.items():
        assert layer(x)[:, 1, 0, 0].tolist() == pytest.approx(expected, rel=1e-5)
        assert torch.equal(layer(x)[:, :1], x)
    assert MinibatchStddev(4, contiguous=True)(x[:1])[0, 1].item() == 0


def test_resampling_keeps_brightness_and_matches_zero_insertion():
    x = normal(2, 3, 8, 8)
    grey = torch.ones(1, 1, 8, 8)
    up = Resample((1.0, 3, 3, 1), 2, 1, up=2, total=2)
    down = Resample((1.0, 3, 3, 1), 1, 1, down=2)
    close(up(grey)[0, 0, 2:-2, 2:-2], torch.ones(12, 12), 16)
    close(down(grey)[0, 0, 1:-1, 1:-1], torch.ones(2, 2), 16)
    assert up(x).shape == (2, 3, 16, 16)
    assert down(x).shape == (2, 3, 4, 4)
    taps = torch.tensor([1.0, 3, 3, 1]) / 4
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    close(up(x), F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=3), 16)


@pytest.mark.parametrize("module", [progan, stylegan, stylegan2])
def test_networks_offer_what_a_generator_offers(module):
    gan = a_gan(module)
    assert (gan.generator.latent_dim, gan.generator.image_shape, gan.generator.embedding_dim) == (
        LATENT,
        (3, 16, 16),
        None,
    )
    assert gan.critic.image_shape == (3, 16, 16)
    z = normal(5, LATENT)
    x = gan.generator(z)
    assert x.shape == (5, 3, 16, 16)
    assert torch.equal(x, gan.generator(z))  # no noise is drawn
    assert gan.critic(x).shape == (5, 1)
    close(gan.generator(3 * z), x, *terms(gan.generator))  # the latent's length does not matter


@pytest.mark.parametrize("module", [progan, stylegan, stylegan2])
def test_the_gradient_penalty_can_differentiate_the_critic_twice(module):
    critic, x = a_gan(module).critic, normal(4, 3, 16, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in critic.parameters())
    assert critic.dense.weight.grad.abs().max() > 0


@pytest.mark.parametrize("module", [stylegan, stylegan2])
def test_style_spaces(module):
    generator = a_gan(module).generator
    z = normal(3, LATENT)
    w = generator.mapping(z)
    rows = w[:, None].repeat(1, generator.layers, 1)
    assert torch.equal(generator(z), generator.synthesis(w))  # one computation, done twice
    close(generator.synthesis(rows), generator.synthesis(w), *terms(generator))
    for i in range(generator.layers):  # each row is heard
        changed = rows.clone()
        changed[:, i] += 1
        assert not torch.allclose(generator.synthesis(changed), generator.synthesis(rows), atol=1e-4)
    for wrong in (w[:, 1:], rows[:, 1:]):
        with pytest.raises(UserError, match=f"{LATENT}"):
            generator.synthesis(wrong)


@pytest.mark.parametrize("module", [stylegan, stylegan2])
def test_truncation(module):
    generator = a_gan(module).generator
    z = normal(3, LATENT)
    generator.measure_w_mean(200)
    mean = generator.w_mean.clone()
    generator.measure_w_mean(200)
    assert torch.equal(mean, generator.w_mean)
    assert torch.equal(generator(z, truncation=1.0), generator(z))
    middle = generator.synthesis(mean[None]).expand(3, -1, -1, -1)
    close(generator(z, truncation=0.0), middle, *terms(generator))
    half = generator.synthesis((generator.mapping(z) + mean) / 2)
    close(generator(z, truncation=0.5), half, *terms(generator))


@pytest.mark.parametrize("module", [stylegan, stylegan2])
def test_noise_is_heard_through_its_learnt_weights_only(module):
    generator = a_gan(module).generator
    z = normal(2, LATENT)
    maps = [normal(2, 1, r, r, seed=r) for r in generator.noise_sizes]
    assert torch.equal(generator(z, noise=maps), generator(z))  # they start at zero
    with torch.no_grad():
        for name, weight in generator.named_parameters():
            if name.endswith("noise"):
                weight.fill_(1)
    assert not torch.allclose(generator(z, noise=maps), generator(z), atol=1e-3)
    stored = [getattr(generator, f"noise_{i}") for i in range(len(maps))]
    assert torch.equal(generator(z, noise=stored), generator(z))


def test_a_stylegan_in_its_style_space_is_mined_and_stays_as_it_is():
    gan = a_gan(stylegan)
    for per_layer in (False, True):
        source = in_style_space(gan, per_layer)
        draws = source.prior(4, torch.Generator().manual_seed(1))
        z = normal(4, LATENT, seed=1)
        close(source.generator(draws), gan.generator(z), *terms(gan.generator))
    before = everything(gan.generator), everything(gan.critic)
    target = normal(6, 3, 16, 16).clamp(-1, 1)
    mined = mine(source, target, steps=1, batch=4, critic_steps=1, device="cpu", progress=False)
    assert (same(everything(gan.generator), before[0]), same(everything(gan.critic), before[1])) == (True, True)
    assert mined.sample(2).shape == (2, 3, 16, 16)


def test_a_gan_without_a_style_space_is_refused_in_one_line():
    with pytest.raises(UserError, match=r"^mnist-no-9 has no style space: only a StyleGAN or StyleGAN2 does, mine it"):
        in_style_space(zoo.load("mnist-no-9"))


def test_a_fresh_critic_is_drawn_anew():
    """Which is what critic_from="fresh" relies on."""
    critic = a_gan(stylegan2).critic
    before = {name: weight.clone() for name, weight in critic.named_parameters() if name.endswith("weight")}
    for part in critic.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    assert not any(torch.equal(weight, before[name]) for name, weight in critic.named_parameters() if name in before)
