"""The miner M: a small fully connected network u → z that shifts a generator's prior (Sec. 3.2, supplement A)."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = {"relu": F.relu, "leaky_relu": lambda h: F.leaky_relu(h, 0.2), "tanh": torch.tanh}


class Miner(nn.Module):
    """M(u): u (n, sizes[0]) → z (n, sizes[-1]), fully connected, no activation after the last layer.

    sizes: one number more than there are layers; the supplement's MNIST miner is (|z|, |z|, |z|).
    activation: "relu", "leaky_relu" or "tanh", between the layers (the paper does not name it for MNIST).
    init: a name from INITS: "paper", "scale-preserving" (default) or "glorot".
    rng: CPU generator of the initial weights; None takes one seeded with 0.
    Raises ValueError for fewer than two sizes, a size below 1, or an unknown name.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (128, 128, 128),
        activation: str = "relu",
        init: str = "scale-preserving",
        rng: torch.Generator | None = None,
    ):
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a miner needs at least two positive sizes, got {tuple(sizes)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: one of {', '.join(ACTIVATIONS)}")
        if init not in INITS:
            raise ValueError(f"unknown init {init!r}: one of {', '.join(INITS)}")
        self.sizes, self.activation, self.init = tuple(sizes), activation, init
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        INITS[init](self, rng or torch.Generator().manual_seed(0))

    def forward(self, u: Tensor) -> Tensor:
        h = u
        for layer in self.layers[:-1]:
            h = ACTIVATIONS[self.activation](layer(h))  # (n, sizes[i])
        return self.layers[-1](h)  # (n, sizes[-1])


class NoMiner(nn.Module):
    """z → z: what stands in a miner's place where a method has none (transfer/)."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.sizes = (latent_dim, latent_dim)

    def forward(self, z: Tensor) -> Tensor:
        return z


@torch.no_grad()
def paper_init(miner: Miner, rng: torch.Generator) -> None:
    """Supplement A to the letter: every weight ~ N(0, 0.01²), biases zero.

    Two such layers shrink |u| by about a hundred, so every sample starts as very nearly the image G(0).
    """
    for layer in miner.layers:
        nn.init.normal_(layer.weight, std=0.01, generator=rng)
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def scale_preserving_init(miner: Miner, rng: torch.Generator) -> None:
    """Each layer's output starts with mean 0 and variance 1, if its input is N(0, I).

    Orthogonal weights keep distances; each later layer divides by the standard deviation that the activation
    leaves and its bias removes the mean that the activation adds. (He's init keeps the second moment only: after a
    ReLU all outputs would share an offset, and the samples a cosine of about 1/π.) Ours, not the paper's.
    """
    mean, std = 0.0, 1.0
    for layer in miner.layers:
        rows, columns = layer.weight.shape
        gain = (
            math.sqrt(max(1.0, rows / columns)) / std
        )  # orthogonal columns spread one unit of variance over more rows
        nn.init.orthogonal_(layer.weight, gain=gain, generator=rng)
        layer.bias.copy_(-mean * layer.weight.sum(1))
        mean, std = _moments(miner.activation)


@torch.no_grad()
def glorot_init(miner: Miner, rng: torch.Generator) -> None:
    """The released MNIST code's: Glorot-uniform weights, biases zero."""
    for layer in miner.layers:
        nn.init.xavier_uniform_(layer.weight, generator=rng)
        nn.init.zeros_(layer.bias)


def _moments(activation: str) -> tuple[float, float]:
    """Mean and standard deviation of activation(h), h ~ N(0, 1), by quadrature."""
    h = torch.linspace(-8, 8, 16001, dtype=torch.float64)
    weights = torch.exp(-h.square() / 2)
    weights /= weights.sum()
    value = ACTIVATIONS[activation](h)
    mean = (weights * value).sum()
    return mean.item(), ((weights * (value - mean).square()).sum()).sqrt().item()


INITS = {"paper": paper_init, "scale-preserving": scale_preserving_init, "glorot": glorot_init}
