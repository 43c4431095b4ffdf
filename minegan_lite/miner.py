"""The miner M: a small fully connected network u → z that shifts a generator's prior (Sec. 3.2, supplement A).

For a generator whose classes are embedded there are two of them, M^z and M^c (Sec. 3.3).
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.networks.layers import SMALL, SpectralLinear
from minegan_lite.networks.style_layers import leaky, pixel_norm

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu+pixel_norm": lambda h: pixel_norm(F.relu(h)),
    "leaky_relu": leaky,
    "tanh": torch.tanh,
    "linear": lambda h: h,
}

FORMS = ("spectral_norm", "residual", "shell")  # what a miner may be besides its layers; see Miner


class Miner(nn.Module):
    """M(u): u (n, sizes[0]) → z (n, sizes[-1]), fully connected, no activation after the last layer.

    sizes: one number more than there are layers; the supplement's MNIST miner is (|z|, |z|, |z|).
    activation: between the layers, a name from ACTIVATIONS (the paper names it for Progressive GAN only: ReLU and
        pixel norm). With "linear" the miner is an affine map, which turns a Gaussian into another Gaussian.
    init: a name from INITS: "paper", "scale-preserving" (default), "glorot", "orthogonal" or "pytorch".
    rng: CPU generator of the initial weights; None takes one seeded with 0.
    spectral_norm: whether each layer's weight is divided by its largest singular value.
    residual: M(u) = u + f(u), f being these layers; it starts as the identity, its last layer at zero (the form of
        HyperNoise, Eyring et al. 2025). `shift` gives f(u). Ours, not the paper's.
    shell: M(u) is scaled to the length √|z|, where nearly all latents of N(0, I) lie. Ours, not the paper's.
    Raises ValueError for fewer than two sizes, a size below 1, an unknown name, and a residual miner between two
        lengths or with spectral norm.
    """

    def __init__(
        self,
        sizes: Sequence[int] = (128, 128, 128),
        activation: str = "relu",
        init: str = "scale-preserving",
        rng: torch.Generator | None = None,
        *,
        spectral_norm: bool = False,
        residual: bool = False,
        shell: bool = False,
    ):
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"a miner needs at least two positive sizes, got {tuple(sizes)}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"unknown activation {activation!r}: one of {', '.join(ACTIVATIONS)}")
        if init not in INITS:
            raise ValueError(f"unknown init {init!r}: one of {', '.join(INITS)}")
        if residual and spectral_norm:
            raise ValueError(
                "a residual miner starts at zero, by which spectral norm cannot divide: choose one of them"
            )
        if residual and sizes[0] != sizes[-1]:
            raise ValueError(f"a residual miner adds to u, whose length {sizes[0]} is not that of z, {sizes[-1]}")
        self.sizes, self.activation, self.init, self.spectral_norm = tuple(sizes), activation, init, spectral_norm
        self.residual, self.shell = residual, shell
        layer = SpectralLinear if spectral_norm else nn.Linear
        # torch gives the elements of such a list no types: each is an nn.Linear
        self.layers: Any = nn.ModuleList(layer(a, b) for a, b in pairwise(sizes))
        rng = rng or torch.Generator().manual_seed(0)
        INITS[init](self, rng)
        if residual:
            last: Any = self.layers[-1]
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        if spectral_norm:
            _find_norms(self, rng)

    def forward(self, u: Tensor) -> Tensor:
        z = u + self.shift(u) if self.residual else self.shift(u)  # (n, sizes[-1])
        return on_shell(z) if self.shell else z

    def shift(self, u: Tensor) -> Tensor:
        """What the layers make of u (n, sizes[0]): (n, sizes[-1])."""
        h = u
        for layer in self.layers[:-1]:
            h = ACTIVATIONS[self.activation](layer(h))  # (n, sizes[i])
        return self.layers[-1](h)  # (n, sizes[-1])


def on_shell(z: Tensor) -> Tensor:
    """Latents (n, d) scaled to the length √d."""
    return z * (z.shape[1] ** 0.5 / z.norm(dim=1, keepdim=True).clamp_min(SMALL))


class ConditionalMiner(nn.Module):
    """M^z and M^c (Sec. 3.3, supplement A): u (n, |u|) → z and a class embedding c side by side, (n, |z| + |c|).

    Two Miners have the same input u and share no weights; the generator takes the first |z| numbers as z and the others
    as c.

    z_sizes, embedding_sizes: the sizes of M^z and M^c; the supplement's are (128,)·5 + (120,) and (128,)·6. The other
    arguments are Miner's; residual and shell are of M^z alone, since class embeddings have no such shell.
    Raises ValueError for inputs of different lengths, and as Miner does.
    """

    def __init__(
        self,
        z_sizes: Sequence[int] = (128, 128, 128, 128, 128, 120),
        embedding_sizes: Sequence[int] = (128, 128, 128, 128, 128, 128),
        activation: str = "relu",
        init: str = "scale-preserving",
        rng: torch.Generator | None = None,
        *,
        spectral_norm: bool = False,
        residual: bool = False,
        shell: bool = False,
    ):
        super().__init__()
        if z_sizes[:1] != embedding_sizes[:1]:
            raise ValueError(f"M^z and M^c share u: {tuple(z_sizes)} and {tuple(embedding_sizes)} must start alike")
        rng = rng or torch.Generator().manual_seed(0)
        self.z = Miner(z_sizes, activation, init, rng, spectral_norm=spectral_norm, residual=residual, shell=shell)
        self.embedding = Miner(embedding_sizes, activation, init, rng, spectral_norm=spectral_norm)
        self.sizes = (z_sizes[0], z_sizes[-1] + embedding_sizes[-1])

    def forward(self, u: Tensor) -> Tensor:
        return torch.cat([self.z(u), self.embedding(u)], dim=1)  # (n, |z| + |c|)


def mean_square_shift(miner: Any, u: Tensor) -> Tensor:
    """The mean square of what a residual miner adds to u (n, |u|), a number; of a ConditionalMiner what M^z adds.

    HyperNoise's penalty (Eyring et al. 2025), in the place of a divergence between mined and prior latents.
    """
    return (miner.z if isinstance(miner, ConditionalMiner) else miner).shift(u).square().mean()


class NoMiner(nn.Module):
    """z → z: the place of the miner in the results of methods that have none (transfer/)."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.sizes = (latent_dim, latent_dim)

    def forward(self, z: Tensor) -> Tensor:
        return z


def miner_for(generator: Any, config: Any, rng: torch.Generator) -> Miner | ConditionalMiner:
    """The miner of a generator before its first step, as a config.Mining says; of a ClassSpace M^z and M^c."""
    outputs = getattr(generator, "sizes", (generator.latent_dim,))
    hidden = outputs[:1] if config.hidden is None else config.hidden
    sizes = [(config.input_dim or outputs[0], *hidden, output) for output in outputs]
    kind: Callable[..., Miner | ConditionalMiner] = Miner if len(sizes) == 1 else ConditionalMiner
    forms = {name: getattr(config, name) for name in FORMS}
    return kind(*sizes, config.activation, config.init, rng, **forms)


def told(miner: nn.Module) -> list[dict[str, Any]]:
    """What `built` needs to make a miner of the same shape: a dict for each Miner in it, JSON-ready."""
    parts = [miner] if isinstance(miner, Miner) else [part for part in miner.children() if isinstance(part, Miner)]
    return [
        {"sizes": list(part.sizes), "activation": part.activation} | {name: getattr(part, name) for name in FORMS}
        for part in parts
    ]


def built(parts: Sequence[dict[str, Any]]) -> Miner | ConditionalMiner:
    """A miner of the shape that `told` describes, with weights of its own."""
    # those saved before there were residual miners and shells say nothing of them
    forms = [{name: part.get(name, False) for name in FORMS} for part in parts]
    made = [Miner(part["sizes"], part["activation"], **form) for part, form in zip(parts, forms, strict=True)]
    if len(made) == 1:
        return made[0]
    both = ConditionalMiner(made[0].sizes, made[1].sizes)
    both.z, both.embedding = made
    return both


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
        # orthogonal columns spread one unit of variance over more rows
        gain = math.sqrt(max(1.0, rows / columns)) / std
        nn.init.orthogonal_(layer.weight, gain=gain, generator=rng)
        layer.bias.copy_(-mean * layer.weight.sum(1))
        mean, std = _moments(miner.activation)


@torch.no_grad()
def glorot_init(miner: Miner, rng: torch.Generator) -> None:
    """The initialisation of the released MNIST code: Glorot-uniform weights, biases zero."""
    for layer in miner.layers:
        nn.init.xavier_uniform_(layer.weight, generator=rng)
        nn.init.zeros_(layer.bias)


@torch.no_grad()
def orthogonal_init(miner: Miner, rng: torch.Generator) -> None:
    """The initialisation of the released BigGAN code: orthogonal weights, and PyTorch's own biases."""
    for layer in miner.layers:
        nn.init.orthogonal_(layer.weight, generator=rng)
        _uniform(layer.bias, layer.in_features, rng)


@torch.no_grad()
def pytorch_init(miner: Miner, rng: torch.Generator) -> None:
    """The initialisation of the released StyleGAN code, PyTorch's own: weights and biases uniform in ±1/√inputs."""
    for layer in miner.layers:
        _uniform(layer.weight, layer.in_features, rng)
        _uniform(layer.bias, layer.in_features, rng)


def _uniform(weight: Tensor, inputs: int, rng: torch.Generator) -> None:
    nn.init.uniform_(weight, -1 / math.sqrt(inputs), 1 / math.sqrt(inputs), generator=rng)


@torch.no_grad()
def _find_norms(miner: Miner, rng: torch.Generator) -> None:
    """Finds spectral norm's vectors for the initial weights; in training each step refines them further."""
    for layer in miner.layers:
        layer.u.copy_(F.normalize(torch.randn(len(layer.u), generator=rng), dim=0, eps=SMALL))
        for _ in range(15):
            layer.power_iteration()


def _moments(activation: str) -> tuple[float, float]:
    """Mean and standard deviation of activation(h) for h ~ N(0, 1), by quadrature; pixel norm as for many channels."""
    name, _, normed = activation.partition("+")
    h = torch.linspace(-8, 8, 16001, dtype=torch.float64)
    weights = torch.exp(-h.square() / 2)
    weights /= weights.sum()
    value = ACTIVATIONS[name](h)
    centre = (weights * value).sum()
    mean, std = centre.item(), (weights * (value - centre).square()).sum().sqrt().item()
    root = math.hypot(mean, std) if normed else 1.0  # the root of the mean square is what pixel norm divides by
    return mean / root, std / root


INITS = {
    "paper": paper_init,
    "scale-preserving": scale_preserving_init,
    "glorot": glorot_init,
    "orthogonal": orthogonal_init,
    "pytorch": pytorch_init,
}
