"""StudioGAN's BigGAN: one file for G or G_ema, and one for D.

It is not BigGAN-PyTorch with other names: eps is 1e-4, and spectral norm computes σ from the stored vectors without
another iteration.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints import studiogan
from minegan_lite.checkpoints.biggan_pytorch import split
from minegan_lite.checkpoints.loading import agreed, bottom_side, fill, made, renamed
from minegan_lite.networks import biggan

NAME = "biggan-studiogan"
critic = studiogan.critic


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(re.search(r"^blocks\.\d+\.0\.bn1\.gain\.weight_orig$", key) for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """G and G_ema are two files with the same keys, so that the file decides which it is."""
    blocks, attention = studiogan.places(state)
    channels = studiogan.channels(state, blocks, "weight_orig", "bn1.bn.running_mean")
    bottom = bottom_side(state, channels[0], "linear0.bias", "linear0.weight_orig", "linear0.weight_u")
    condition = agreed(state, *((f"blocks.{i}.0.bn1.{to}.weight_v", 0) for i in blocks for to in ("gain", "bias")))
    chunk, embedding_dim = split(state, condition, "linear0.weight_orig", "shared.weight")
    network = made(
        biggan.Generator,
        state,
        bottom << len(blocks),
        chunk=chunk,
        embedding_dim=embedding_dim,
        classes=agreed(state, ("shared.weight", 0)),
        attention=[bottom << (blocks.index(i - 1) + 1) for i in attention],
        channels=channels,
        eps=1e-4,
    )
    names = renamed(network, studiogan.rules(blocks), studiogan.SPECTRAL)
    return fill(network, state, names, ignored=r"\.num_batches_tracked$")
