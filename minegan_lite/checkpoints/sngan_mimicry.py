"""The unconditional SNGAN of mimicry (kwotsin/mimicry), 32 to 128 pixels; its critics are not published.

It enlarges bilinearly where the authors repeat pixels, and batch norm has torch's eps, 1e-5.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import agreed, bottom_side, count, fill, renamed
from minegan_lite.networks import sngan

NAME = "sngan-mimicry"


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(re.search(r"^block\d+\.b1\.running_mean$", key) for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    last = count(state, r"block(\d+)\.")  # blocks count from 2, and what follows them goes on
    at = [f"block{i}" for i in range(2, last)]
    channels = [agreed(state, *((f"{b}.b1.{what}", 0) for what in ("weight", "bias", "running_mean"))) for b in at]
    channels.append(agreed(state, *((f"b{last}.{what}", 0) for what in ("weight", "bias", "running_mean"))))
    network = sngan.Generator(
        bottom_side(state, channels[0], "l1.bias", "l1.weight") << len(at),
        latent_dim=agreed(state, ("l1.weight", 1)),
        channels=channels,
        eps=1e-5,
        upsample="bilinear",
    )
    rules = (
        (r"^blocks\.(\d+)\.", lambda match: f"block{int(match[1]) + 2}."),
        (r"\.norm([12])\.", r".b\1."),
        (r"\.conv([12])\.", r".c\1."),
        (r"\.shortcut\.", ".c_sc."),
        (r"^project\.", "l1."),
        (r"^norm\.", f"b{last}."),
        (r"^to_rgb\.", f"c{last}."),
    )
    return fill(network, state, renamed(network, rules, {}), ignored=r"\.num_batches_tracked$")


def critic(state: Mapping[str, Tensor]) -> None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    return None
