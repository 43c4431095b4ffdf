"""A variational autoencoder (Kingma & Welling 2014) on the target alone: the paper's baseline without transfer."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.data import FewShot
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.mined import Mined
from minegan_lite.networks.plain import halving
from minegan_lite.nn import fresh, stream
from minegan_lite.transfer import fitting

# Neither paper says how its VAE was trained: these are common.
PAPER = {"generator_lr": 1e-3, "betas": (0.9, 0.999), "batch": 100, "sample_average": False}


class Encoder(nn.Module):
    """Images (n, C, H, W) → mean and log-variance of the latent, (n, latent_dim) each."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, width: int = 32):
        super().__init__()
        self.body, features = halving(image_shape, width)
        self.head = nn.Linear(features, 2 * latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.body(x)).chunk(2, dim=1)


class Autoencoder(nn.Module):
    """The encoder, and as decoder a generator like the source's with new weights: what is learned."""

    def __init__(self, gan: GAN, seed: int):
        super().__init__()
        self.decoder = fresh(gan.generator, "vae", seed).train().requires_grad_(True)
        with torch.random.fork_rng():
            torch.manual_seed(stream("vae encoder", seed).initial_seed())
            self.encoder = Encoder(gan.generator.image_shape, gan.generator.latent_dim)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag exp log_variance) ‖ N(0, I)) (n,), of (n, d) each: Kingma & Welling 2014, appendix B."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2


def reconstruction(fake: Tensor, real: Tensor) -> Tensor:
    """−log p(real | z) (n,) of pixels in [0, 1] as probabilities, for images (n, C, H, W) in [−1, 1]."""
    probability = ((fake.float() + 1) / 2).clamp(1e-6, 1 - 1e-6)
    return F.binary_cross_entropy(probability, (real + 1) / 2, reduction="none").flatten(1).sum(1)


def adapt(
    gan: GAN,
    target: FewShot | Tensor,
    *,
    seed: int,
    **options: Any,
) -> Mined:
    """A decoder of the source's architecture, sampled by N(0, I); see transfer.adapt."""
    asked = fitting.asked("vae", gan, target, {}, paper=PAPER, released=True, seed=seed, **options)
    learned = Autoencoder(gan, seed).to(asked.device)

    def losses(pick: Tensor, real: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        mean, log_variance = (part.float() for part in learned.encoder(real))
        noise = torch.randn(mean.shape, generator=rng).to(mean)
        fake = learned.decoder(mean + (log_variance / 2).exp() * noise)
        return {
            "reconstruction": reconstruction(fake, real).mean(),
            "divergence": divergence(mean, log_variance).mean(),
        }

    adapted = fitting.renamed(gan, "vae", learned.decoder, prior=StandardNormal(gan.generator.latent_dim))
    return asked.fit(adapted, learned, losses)


def frozen(gan: GAN, **options: Any) -> set[str]:
    """None: every weight is new."""
    return set()
