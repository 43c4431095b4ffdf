"""Training from scratch: networks like the source's with new weights see the target alone (Sec. 4.1, "Scratch")."""

from typing import Any

from torch import Tensor

from minegan_lite.data import FewShot
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.nn import fresh
from minegan_lite.transfer import adversarial

# The paper says nothing of how; these are WGAN-GP's own for MNIST (Gulrajani et al. 2017).
PAPER = {
    "generator_lr": 1e-4, "critic_lr": 1e-4, "betas": (0.5, 0.9), "batch": 50, "critic_steps": 5, "penalty": 10.0,
    "sample_average": False,
}  # fmt: skip


def adapt(gan: GAN, target: FewShot | Tensor, *, seed: int, **options: Any) -> Mined:
    """A GAN of the source's architecture and prior, trained on the target alone; see transfer.adapt."""
    generator, critic = (part and fresh(part, "scratch", seed) for part in (gan.generator, gan.critic))
    return adversarial.train(
        "scratch", gan, target, generator=generator, critic=critic, paper=PAPER, seed=seed, **options
    )


def frozen(gan: GAN, **options: Any) -> set[str]:
    """None: every weight is new."""
    return set()
