"""SNGAN, BigGAN and BigGAN-deep at tiny sizes: shapes, determinism, published sizes, and mining them."""

from unittest.mock import patch

import pytest
import torch
from torch import nn

from minegan_lite import GAN, StandardNormal, UserError, classes_of, finetune, mine
from minegan_lite.networks import biggan, biggan_deep, layers, sngan
from tests.tiny import everything, same


def sngan_pair(classes=None):
    return sngan.Generator(32, 2, 6, classes), sngan.Critic(32, 4, classes)


def biggan_pair(classes=3):
    generator = biggan.Generator(32, 2, 3, 5, classes, attention=(16,))
    return generator, biggan.Critic(32, 2, classes, attention=(16,))


def biggan_deep_pair(classes=3):
    generator = biggan_deep.Generator(32, 2, 6, 5, classes, attention=(16,))
    return generator, biggan_deep.Critic(32, 4, classes, attention=(16,))


def made(pair, *args):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        generator, critic = pair(*args)
        for part in generator.modules():  # statistics as of a generator that was trained
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
    return GAN(generator, critic, StandardNormal(generator.latent_dim), "tiny")


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pair", [lambda: sngan_pair(3), biggan_pair, biggan_deep_pair], ids=["sngan", "big", "deep"])
def test_a_conditional_generator_and_critic(pair):
    gan = made(pair)
    generator, critic = gan.generator.eval().double(), gan.critic.eval().double()
    for weight in generator.parameters():  # a trained generator's classes differ
        weight.data.add_(0.1 * noise(*weight.shape))
    labels, z = torch.tensor([0, 1, 2, 2]), gan.prior(4, torch.Generator().manual_seed(0)).double()
    embedding = generator.embed(labels).double()
    assert embedding.shape == (4, generator.embedding_dim)
    assert len(generator.classes) == 3
    images = generator(z, embedding)
    assert images.shape == (4, *generator.image_shape) == (4, 3, 32, 32)
    assert images.abs().max() <= 1
    assert torch.equal(generator(z, embedding), images)
    assert not torch.allclose(generator(z, embedding.flip(0))[0], images[0])
    assert torch.allclose(generator(z[:1], embedding[:1]), images[:1])  # images do not see each other
    assert critic(images).shape == critic(images, labels).shape == (4, 1)
    assert not torch.allclose(critic(images), critic(images, labels))
    assert torch.equal(critic(images), critic(images))


def test_an_unconditional_sngan():
    gan = made(sngan_pair)
    generator = gan.generator.eval()
    assert generator.embedding_dim is None
    images = generator(noise(2, 6))
    assert images.shape == (2, 3, 32, 32)
    with pytest.raises(UserError, match="unconditional"):
        gan.critic(images, torch.tensor([0, 0]))


def test_every_chunk_of_biggans_latent_counts():
    generator = made(biggan_pair).generator.eval()
    z = noise(1, generator.latent_dim).requires_grad_()
    embedding = generator.embed(torch.tensor([1])).detach().requires_grad_()
    gradients = torch.autograd.grad(generator(z, embedding).square().sum(), (z, embedding))
    assert all((gradient != 0).all() for gradient in gradients)


def test_every_weight_of_a_critic_counts():
    """With labels; of attention only gamma does while it is 0."""
    for pair in (lambda: sngan_pair(3), biggan_pair, biggan_deep_pair):
        critic = made(pair).critic
        critic(noise(2, 3, 32, 32), torch.tensor([0, 1])).square().sum().backward()
        still = {name for name, weight in critic.named_parameters() if weight.grad is None or not weight.grad.any()}
        assert all(name.startswith("attention.") and not name.endswith("gamma") for name in still), still


def unfilled(network):
    """A network without numbers, made at once whatever its size."""
    idle = patch.object(layers.SpectralNorm, "_reset_vectors"), patch.object(nn.Embedding, "reset_parameters")
    with torch.device("meta"), idle[0], idle[1]:
        return network()


def spectral(network):
    return [part for part in network.modules() if isinstance(part, layers.SpectralNorm)]


def counters(network):
    return [key for key in network.state_dict() if key.endswith("num_batches_tracked")]


def v(network):
    return sum(part.v.numel() for part in spectral(network))


@pytest.mark.parametrize(
    ("network", "more", "published"),
    [
        (lambda: sngan.Generator(), lambda net: 0, 32_160_782),  # mimicry
        (lambda: sngan.Generator(classes=1000), lambda net: 0, 42_006_926),  # Chainer, whose N is our counter
        (lambda: sngan.Critic(classes=1000), lambda net: -v(net), 30_049_898),  # Chainer keeps no v
        (lambda: biggan.Generator(), lambda net: len(spectral(net)) - v(net) - len(counters(net)), 70_497_632),  # sv0
        (lambda: biggan.Critic(), lambda net: len(spectral(net)) - v(net), 87_995_562),
        (lambda: biggan_deep.Generator(128), lambda net: 0, 52_687_425),
    ],
)
def test_the_defaults_have_the_published_sizes(network, more, published):
    """All numbers in a published file; `more` are those that its layout has beyond our state dict's."""
    network = unfilled(network)
    assert sum(x.numel() for x in network.state_dict().values()) + more(network) == published


@pytest.mark.parametrize(("resolution", "millions"), [(128, 50.4), (256, 55.9), (512, 56.2)])
def test_biggan_deep_has_the_published_parameters(resolution, millions):
    """As its README counts them."""
    network = unfilled(lambda: biggan_deep.Generator(resolution))
    assert round(sum(weight.numel() for weight in network.parameters()) / 1e6, 1) == millions


def test_an_unpublished_resolution_needs_channels():
    with pytest.raises(UserError, match="resolution 48"):
        sngan.Generator(48)
    assert sngan.Generator(48, latent_dim=6, channels=(8, 4, 2, 1)).eval()(noise(1, 6)).shape == (1, 3, 48, 48)


@pytest.mark.parametrize(
    "pair",
    [sngan_pair, lambda: sngan_pair(2), lambda: biggan_pair(2), lambda: biggan_deep_pair(2)],
    ids=["sngan", "conditional sngan", "big", "deep"],
)
def test_mining_leaves_every_byte_of_the_generator(pair):
    """A conditional one is mined class by class."""
    gan = made(pair)
    before, critic = everything(gan.generator), everything(gan.critic)
    target = noise(8, 3, 32, 32).clamp(-1, 1)
    options = {"steps": 2, "batch": 4, "critic_steps": 1, "device": "cpu", "progress": False, "seed": 0}
    source = gan if gan.generator.embedding_dim is None else classes_of(gan)
    mined = mine(source, target, **options)
    assert mined.sample(3, seed=0).shape == (3, 3, 32, 32)
    assert same(before, everything(gan.generator))
    assert same(critic, everything(gan.critic))
    assert torch.equal(mined.sample(3, seed=0), mine(source, target, **options).sample(3, seed=0))


def test_both_stages_from_a_fresh_critic():
    """Stage two trains a copy of the generator: its batch norms and, in a critic made anew, its spectral norms move."""
    gan = made(sngan_pair)
    before, target = everything(gan.generator), noise(8, 3, 32, 32).clamp(-1, 1)
    options = {"steps": 1, "batch": 4, "critic_steps": 1, "device": "cpu", "progress": False}
    mined = mine(gan, target, critic_from="fresh", seed=0, **options)
    done = finetune(mined, target, **options)
    assert same(before, everything(gan.generator))
    _, generator = done.networks(ema=False)
    assert not torch.equal(generator.blocks[0].norm1.running_mean, gan.generator.blocks[0].norm1.running_mean)
    moved = zip(spectral(gan.critic), spectral(mined.critic), strict=True)
    assert all(not torch.equal(a.weight, b.weight) for a, b in moved)
    assert all(part.u.isfinite().all() for part in spectral(done.critic))
