"""GAN: a generator, its critic and its prior, as one record."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class StandardNormal:
    """The prior N(0, I) on `dim` latent numbers; called with (n, rng) it draws (n, dim) on the CPU."""

    dim: int

    def __call__(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.dim, generator=rng)


@dataclass(frozen=True)
class GAN:
    """A pretrained GAN (Sec. 3.1).

    generator: an nn.Module with `latent_dim`, `image_shape` (C, H, W) and `embedding_dim` (None if unconditional);
        `generator(z)`, z (n, latent_dim), gives images (n, C, H, W), nominally in [−1, 1]. A conditional one is called
        generator(z, embedding), with `embed(labels)` → (n, embedding_dim) and `classes`, what its classes are called.
    critic: an nn.Module; `critic(x)` gives scores (n, 1). None where the source publishes no critic.
    prior: draws latents, `prior(n, rng)` → (n, latent_dim), rng a CPU torch.Generator.
    name: what results and messages call it.
    request: the arguments of sources.from_file that give it again, JSON-ready; None for the zoo's and for what was made
        in Python.
    """

    generator: nn.Module
    critic: nn.Module | None
    prior: Callable[[int, torch.Generator], Tensor]
    name: str
    request: dict[str, Any] | None = None
