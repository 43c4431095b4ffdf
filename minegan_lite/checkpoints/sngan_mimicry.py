"""The unconditional SNGAN of mimicry (kwotsin/mimicry), 32 to 128 pixels: a file of netG, and one of netD.

It enlarges bilinearly where the authors repeat pixels, and batch norm has torch's eps, 1e-5. Spectral norm is torch's,
which in eval mode takes the stored vectors as they are. The critic's ReLU works in place, so that the shortcut of every
block but the first starts behind it.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import agreed, bottom_side, count, fill, made, numbers, renamed
from minegan_lite.errors import UserError
from minegan_lite.networks import sngan
from minegan_lite.networks.layers import ResidualCritic

NAME = "sngan-mimicry"
SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(re.search(r"^block\d+\.b1\.running_mean$", key) for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    last = count(state, r"block(\d+)\.")  # blocks count from 2, and what follows them goes on
    at = [f"block{i}" for i in range(2, last)]
    channels = [agreed(state, *((f"{b}.b1.{what}", 0) for what in ("weight", "bias", "running_mean"))) for b in at]
    channels.append(agreed(state, *((f"b{last}.{what}", 0) for what in ("weight", "bias", "running_mean"))))
    network = made(
        sngan.Generator,
        state,
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


def critic(state: Mapping[str, Tensor]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    if matches(state):  # a generator's file
        return None
    blocks = [f"block{i}" for i in range(1, count(state, r"block(\d+)\."))]
    head = max(numbers(state, r"l(\d+)\."), default=0)
    channels = [agreed(state, (f"{b}.c2.weight_orig", 0), (f"{b}.c2.bias", 0), (f"{b}.c2.weight_u", 0)) for b in blocks]
    network = made(
        ResidualCritic,
        state,
        channels,
        pools=_pools(len(blocks), head),
        classes=None,
        wide=False,
        rectified=True,
    )
    rules = (
        (r"^blocks\.(\d+)\.", lambda match: f"block{int(match[1]) + 1}."),
        (r"\.conv([12])\.", r".c\1."),
        (r"\.shortcut\.", ".c_sc."),
        (r"^head\.linear\.", f"l{head}."),
    )
    return fill(network, state, renamed(network, rules, SPECTRAL))


def _pools(blocks: int, head: int) -> int:
    """How many of a critic's blocks halve the resolution. Those of 48 and of 64 pixels differ in nothing but the name
    of the last layer: l5 where the last of the five blocks rests, l6 where all pool."""
    pools = {(4, 5): 2, (5, 5): 4, (5, 6): 5, (6, 7): 5}  # at 32, 48, 64 and 128 pixels
    if (blocks, head) not in pools:
        raise UserError(
            f"the checkpoint's critic has {blocks} blocks and its last layer is 'l{head}': mimicry's SNGAN critics of "
            "32, 48, 64 and 128 pixels have 4, 5, 5 and 6 blocks and l5, l5, l6 and l7"
        )
    return pools[blocks, head]
