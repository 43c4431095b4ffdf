"""StudioGAN's SNGAN, class-conditional or not: one file for G, and one for D.

Batch norm has eps 1e-4 and multiplies by 1 + gain, the gain of a one-hot row; the critic is wide, unlike the authors'.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints import studiogan
from minegan_lite.checkpoints.loading import agreed, bottom_side, fill, made, renamed
from minegan_lite.networks import sngan

NAME = "sngan-studiogan"
critic = studiogan.critic


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(re.search(r"^blocks\.\d+\.0\.conv2d0\.weight$", key) for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """G and G_ema, where there is one, are two files with the same keys, so that the file decides which it is."""
    blocks, _ = studiogan.places(state)
    conditional = any(key.endswith(".bn1.gain.weight") for key in state)
    bn = "bn1.bn.running_mean" if conditional else "bn1.running_mean"
    channels = studiogan.channels(state, blocks, "weight", bn)
    gains = [(f"blocks.{i}.0.bn{k}.gain.weight", 1) for i in blocks for k in (1, 2)]
    network = made(
        sngan.Generator,
        state,
        bottom_side(state, channels[0], "linear0.bias", "linear0.weight") << len(blocks),
        latent_dim=agreed(state, ("linear0.weight", 1)),
        classes=agreed(state, *gains) if conditional else None,
        channels=channels,
        eps=1e-4,
        base=1.0,
    )
    names = renamed(network, studiogan.rules(blocks), {})
    return fill(network, state, names, ignored=r"\.num_batches_tracked$")
