"""Hugging Face's BigGAN-deep (huggingface/pytorch-pretrained-BigGAN), made from the authors' modules; no critics.

The condition is [z, embedding], of equal length; the bottom is laid out (4, 4, channels); eps is 1e-4; spectral norm is
torch's, which in eval mode takes the stored vectors as they are; blocks and attention are numbered in one row.
"""

import re
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import Rule, agreed, bottom_side, count, fill, made, numbers, renamed
from minegan_lite.networks import biggan_deep

NAME = "biggan-deep-hf"
critic = None
SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(re.search(r"^generator\.layers\.\d+\.bn_\d\.running_means$", key) for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    attention = numbers(state, r"generator\.layers\.(\d+)\.(?:gamma|snconv)")
    blocks = [i for i in range(count(state, r"generator\.layers\.(\d+)\.")) if i not in attention]
    first = [f"generator.layers.{i}" for i in blocks[::2]]  # the first block of each pair
    channels = [
        agreed(state, (f"{at}.conv_0.weight_orig", 1), (f"{at}.conv_0.weight_v", 0), (f"{at}.bn_0.running_means", 1))
        for at in first
    ]
    channels.append(
        agreed(state, *((f"generator.bn.{w}", 0) for w in ("weight", "bias")), ("generator.bn.running_means", 1))
    )
    bottom = bottom_side(
        state, channels[0], *(f"generator.gen_z.{what}" for what in ("bias", "weight_u", "weight_orig"))
    )
    condition = agreed(state, *((f"{at}.bn_0.{to}.weight_v", 0) for at in first for to in ("scale", "offset")))
    network = made(
        biggan_deep.Generator,
        state,
        bottom << len(first),
        latent_dim=condition // 2,
        embedding_dim=condition // 2,
        classes=agreed(state, ("embeddings.weight", 1)),
        attention=[bottom << (blocks.index(i - 1) // 2 + 1) for i in attention],
        channels=channels,
        rows=agreed(state, *((f"{at}.bn_0.running_{of}", 0) for at in first for of in ("means", "vars"))),
    )
    return fill(network, state, renamed(network, rules(blocks), SPECTRAL))


def rules(blocks: Sequence[int]) -> tuple[Rule, ...]:
    """From our names to theirs; blocks: the numbers in `layers` of the residual blocks. Our attention i is what follows
    our block i."""

    def place(match: re.Match) -> str:
        return f"generator.layers.{blocks[int(match[2])] + (match[1] == 'attention')}."

    return (
        (r"^(blocks|attention)\.(\d+)\.", place),
        (r"\.norms\.(\d)\.", r".bn_\1."),
        (r"\.convs\.(\d)\.", r".conv_\1."),
        (r"\.gain\.", ".scale."),
        (r"\.bias\.", ".offset."),
        (r"\.query\.", ".snconv1x1_theta."),
        (r"\.key\.", ".snconv1x1_phi."),
        (r"\.value\.", ".snconv1x1_g."),
        (r"\.out\.", ".snconv1x1_o_conv."),
        (r"^embedding\.", "embeddings."),
        (r"^project\.", "generator.gen_z."),
        (r"^to_rgb\.", "generator.conv_to_rgb."),
        (r"^norm\.", "generator.bn."),
        (r"\.means$", ".running_means"),
        (r"\.variances$", ".running_vars"),
    )
