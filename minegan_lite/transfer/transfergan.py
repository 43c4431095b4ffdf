"""TransferGAN (Wang et al. 2018): start from the source's generator and critic, go on training both on the target."""

from typing import Any

from torch import Tensor

from minegan_lite.data import FewShot
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.transfer import adversarial

# The released code's, at 64 pixels: WGAN-GP and steps so small that some 25,000 are made.
PAPER = {
    "generator_lr": 1e-5, "critic_lr": 1e-5, "betas": (0.0, 0.9), "batch": 16, "critic_steps": 5, "penalty": 10.0,
    "sample_average": False,
}  # fmt: skip


def adapt(gan: GAN, target: FewShot | Tensor, **options: Any) -> Mined:
    """The source's generator, fine-tuned with its critic; see transfer.adapt."""
    return adversarial.train(
        "transfergan", gan, target, generator=gan.generator, critic=gan.critic, paper=PAPER, **options
    )


def frozen(gan: GAN, **options: Any) -> set[str]:
    """None: every weight moves."""
    return set()
