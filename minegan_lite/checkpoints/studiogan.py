"""What the two StudioGAN layouts share (POSTECH-CVLab/PyTorch-StudioGAN): names of blocks, and the critic.

The modules of `blocks` are numbered in one row, residual blocks and attention alike. Spectral norm is torch's, which in
eval mode takes the stored vectors as they are. The critic's ReLU works in place, so that the shortcut of every block
but the first starts behind it.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import Rule, agreed, count, fill, made, numbers, renamed
from minegan_lite.networks.layers import ResidualCritic

SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}


def places(state: Mapping[str, Tensor]) -> tuple[list[int], list[int]]:
    """Numbers in `blocks` of the residual blocks, and of the attentions."""
    attention = numbers(state, r"blocks\.(\d+)\.0\.(?:sigma|conv1x1_)")
    return [i for i in range(count(state, r"blocks\.(\d+)\.")) if i not in attention], attention


def rules(blocks: list[int]) -> tuple[Rule, ...]:
    """From our names in `blocks` and `attention` to theirs; our attention i is what follows our block i."""

    def place(match: re.Match) -> str:
        return f"blocks.{blocks[int(match[2])] + (match[1] == 'attention')}.0."

    return (
        (r"^(blocks|attention)\.(\d+)\.", place),
        (r"\.conv([12])\.", r".conv2d\1."),
        (r"\.shortcut\.", ".conv2d0."),
        (r"\.query\.", ".conv1x1_theta."),
        (r"\.key\.", ".conv1x1_phi."),
        (r"\.value\.", ".conv1x1_g."),
        (r"\.out\.", ".conv1x1_attn."),
        (r"\.gamma$", ".sigma"),
        (r"^project\.", "linear0."),
        (r"^rows\.", "shared."),
        (r"\.norm([12])\.norm\.", r".bn\1.bn."),
        (r"\.norm([12])\.", r".bn\1."),
        (r"^norm\.", "bn4."),
        (r"^to_rgb\.", "conv2d5."),
        (r"^head\.linear\.", "linear1."),
        (r"^head\.rows\.", "embedding."),
    )


def channels(state: Mapping[str, Tensor], blocks: list[int], weight: str, bn: str) -> list[int]:
    """Of a generator, before its first block and after each; weight, bn: how the two end that tell."""
    at = [f"blocks.{i}.0" for i in blocks]
    inputs = [agreed(state, *((f"{b}.conv2d{k}.{weight}", 1) for k in (0, 1)), (f"{b}.{bn}", 0)) for b in at]
    return [*inputs, agreed(state, ("bn4.weight", 0), ("bn4.bias", 0), ("bn4.running_mean", 0))]


def critic(state: Mapping[str, Tensor]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    if "bn4.weight" in state or "linear0.bias" in state:  # a generator's file
        return None
    blocks, attention = places(state)
    own = [
        agreed(state, (f"{at}.conv2d2.weight_orig", 0), (f"{at}.conv2d2.bias", 0), (f"{at}.conv2d1.bias", 0))
        for at in (f"blocks.{i}.0" for i in blocks)
    ]
    network = made(
        ResidualCritic,
        state,
        own,
        pools=len(own) - (2 if len(own) == 4 else 1),  # at 32 pixels two of the four blocks rest, else one
        classes=agreed(state, ("embedding.weight_orig", 0)) if any("embedding" in key for key in state) else None,
        wide=True,
        attention=[blocks.index(i - 1) for i in attention],
        rectified=True,
    )
    return fill(network, state, renamed(network, rules(blocks), SPECTRAL))
