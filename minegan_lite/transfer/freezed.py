"""FreezeD (Mo et al. 2020): TransferGAN whose critic keeps its layers next to the image."""

from typing import Any

import torch
from torch import Tensor

from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.probe import check_critic
from minegan_lite.transfer import adversarial
from minegan_lite.transfer.layers import in_order, is_linear

# The released code's, for SNGAN with projection; it freezes three of the critic's five blocks.
PAPER = {
    "generator_lr": 2e-4, "critic_lr": 2e-4, "betas": (0.0, 0.9), "batch": 16, "critic_steps": 5, "penalty": 10.0,
    "sample_average": False,
}  # fmt: skip


def adapt(gan: GAN, target: FewShot | Tensor, *, layers: int | None = None, **options: Any) -> Mined:
    """The source's generator, fine-tuned with a critic that is partly frozen; see transfer.adapt.

    layers: how many of the critic's convolutions and linear maps, in the order in which an image passes them, stay as
    they are, with the normalisations between them; None for half of them. Raises UserError unless some are left.
    """
    kept = {name.removeprefix("critic.") for name in frozen(gan, layers=layers)}
    return adversarial.train(
        "freezed", gan, target, generator=gan.generator, critic=gan.critic, paper=PAPER, kept=kept, **options
    )


def frozen(gan: GAN, *, layers: int | None = None, **options: Any) -> set[str]:
    """The parameters of the critic's first `layers` linear maps, and of what lies between them."""
    if gan.critic is None:
        raise UserError(f"{gan.name} has no critic to freeze layers of")
    check_critic(gan.critic, gan.generator.image_shape, gan.name)
    device = next(gan.critic.parameters()).device
    passed = in_order(gan.critic, torch.zeros(2, *gan.generator.image_shape, device=device))
    maps = [i for i, (_, part) in enumerate(passed) if is_linear(part)]
    layers = len(maps) // 2 if layers is None else layers
    if not isinstance(layers, int) or not 0 <= layers < len(maps):
        raise UserError(f"layers must be a whole number from 0 to {len(maps) - 1}, got {layers!r}")
    return {
        f"critic.{name}.{weight}"
        for name, part in passed[: maps[layers]]
        for weight, _ in part.named_parameters(recurse=False)
    }
