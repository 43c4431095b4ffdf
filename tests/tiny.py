"""Tiny networks with everything that can go wrong: BatchNorm, both kinds of spectral norm."""

import torch
from torch import nn

from minegan_lite import zoo
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.mined import Mined
from minegan_lite.miner import Miner
from minegan_lite.selector import Selector


class TinyGenerator(nn.Module):
    """z (n, 4) → images (n, 1, 6, 6), with BatchNorm and both of torch's spectral norms."""

    latent_dim, embedding_dim, image_shape = 4, None, (1, 6, 6)

    def __init__(self):
        super().__init__()
        self.project = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4 * 9))
        self.norm = nn.BatchNorm2d(4)
        self.up = nn.utils.spectral_norm(nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1))

    def forward(self, z):
        return torch.tanh(self.up(torch.relu(self.norm(self.project(z).unflatten(1, (4, 3, 3))))))


class PlainGenerator(TinyGenerator):
    """TinyGenerator without its spectral norms."""

    def __init__(self):
        nn.Module.__init__(self)
        self.project, self.norm = nn.Linear(4, 4 * 9), nn.BatchNorm2d(4)
        self.up = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)


class TinyCritic(nn.Module):
    def __init__(self, size=6):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size * size, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def forward(self, x):
        return self.layers(x)


def tiny_gan(seed=0) -> GAN:
    """A GAN handed over in train mode, after a few forwards that moved its running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator, critic = TinyGenerator(), TinyCritic()
        for _ in range(3):
            generator(torch.randn(8, 4))
    return GAN(generator, critic, StandardNormal(4), "tiny")


def tiny_target(n=12, seed=0) -> torch.Tensor:
    return torch.rand(n, 1, 6, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def everything(module: nn.Module) -> tuple:
    """Every byte, flag and mode of a module."""
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    flags = [(name, weight.requires_grad, weight.grad) for name, weight in module.named_parameters()]
    return state, flags, [part.training for part in module.modules()]


def same(before: tuple, after: tuple) -> bool:
    states = before[0].keys() == after[0].keys() and all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    return states and before[1:] == after[1:]


def unmined_digits() -> Mined:
    """The zoo's digit GAN behind a miner before its first step."""
    gan, miner = zoo.load("mnist-no-9"), Miner()
    miners, generators = nn.ModuleList([miner]), nn.ModuleList([gan.generator])
    return Mined([gan], miners, gan.critic, miners, generators, Selector(1), {"sample_average": True})
