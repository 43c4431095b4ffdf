"""The BigGAN of the authors' PyTorch code (ajbrock/BigGAN-PyTorch): G_ema.pth or G.pth, and D.pth beside it.

Each forward of the original, in eval mode too, computes σ from one power iteration that starts at the stored u0 and is
then forgotten; sv0 is a note of the last σ. BatchNorm has eps 1e-5, and 1 + gain.
"""

import re
from collections.abc import Mapping

from torch import Tensor, nn

from minegan_lite.checkpoints.loading import agreed, bottom_side, count, fill, iterate, made, numbers, renamed
from minegan_lite.errors import UserError
from minegan_lite.networks import biggan
from minegan_lite.networks.layers import ResidualCritic

NAME = "biggan-pytorch"
SPECTRAL = {"u": "u0"}
VARIANT = "this variant of BigGAN is not supported, only networks trained with both --G_shared and --hier are"
IGNORED = r"\.sv0$"
COMMON = (
    (r"^blocks\.(\d+)\.", r"blocks.\1.0."),
    (r"^attention\.(\d+)\.", r"blocks.\1.1."),
    (r"\.shortcut\.", ".conv_sc."),
    (r"\.query\.", ".theta."),
    (r"\.key\.", ".phi."),
    (r"\.value\.", ".g."),
    (r"\.out\.", ".o."),
)
GENERATOR = (
    *COMMON,
    (r"^rows\.", "shared."),
    (r"^project\.", "linear."),
    (r"\.norm([12])\.", r".bn\1."),
    (r"\.norm\.", "."),
    (r"^norm\.weight$", "output_layer.0.gain"),
    (r"^norm\.", "output_layer.0."),
    (r"^to_rgb\.", "output_layer.2."),
    (r"running_", "stored_"),
)
CRITIC = (*COMMON, (r"^head\.linear\.", "linear."), (r"^head\.rows\.", "embed."))


def matches(state: Mapping[str, Tensor]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.endswith(".stored_mean") for key in state)


def generator(state: Mapping[str, Tensor], averaged: bool) -> nn.Module:
    """G_ema.pth and G.pth have the same keys, so that the file decides which it is."""
    gains = [key for key in state if re.search(r"\.bn[12]\.(gain|bias)\.", key)]
    if gains and "shared.weight" not in state and not any(key.endswith(".u0") for key in gains):
        raise UserError(f"the checkpoint's class embeddings are not shared (no --G_shared): {VARIANT}")
    blocks = [f"blocks.{i}.0" for i in range(count(state, r"blocks\.(\d+)\."))]
    channels = [
        agreed(state, (f"{at}.conv1.weight", 1), (f"{at}.conv_sc.weight", 1), (f"{at}.bn1.stored_mean", 0))
        for at in blocks
    ]
    channels.append(agreed(state, ("output_layer.0.gain", 0), ("output_layer.0.bias", 0), ("output_layer.2.weight", 1)))
    bottom = bottom_side(state, channels[0], "linear.bias", "linear.weight")
    condition = agreed(state, *((f"{at}.bn1.{to}.weight", 1) for at in blocks for to in ("gain", "bias")))
    if condition == agreed(state, ("shared.weight", 1)):
        raise UserError(f"the checkpoint's latent is not cut into chunks (no --hier): {VARIANT}")
    chunk, embedding_dim = split(state, condition, "linear.weight", "shared.weight")
    network = made(
        biggan.Generator,
        state,
        bottom << len(blocks),
        chunk=chunk,
        embedding_dim=embedding_dim,
        classes=agreed(state, ("shared.weight", 0)),
        attention=[bottom << (i + 1) for i in numbers(state, r"blocks\.(\d+)\.1\.")],
        channels=channels,
    )
    return iterate(fill(network, state, renamed(network, GENERATOR, SPECTRAL), ignored=IGNORED))


def split(state: Mapping[str, Tensor], condition: int, linear: str, shared: str) -> tuple[int, int]:
    """A block's chunk of z and the embedding's length, which are a condition together; UserError if they are not."""
    chunk, embedding_dim = agreed(state, (linear, 1)), agreed(state, (shared, 1))
    if chunk + embedding_dim != condition:
        shapes = " and ".join(f"'{key}' of shape {tuple(state[key].shape)}" for key in (linear, shared))
        raise UserError(f"the checkpoint's tensors {shapes} do not make a condition of {condition} numbers together")
    return chunk, embedding_dim


def critic(state: Mapping[str, Tensor]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    if matches(state):  # a generator's file
        return None
    channels = [
        agreed(state, (f"{at}.conv2.weight", 0), (f"{at}.conv2.bias", 0), (f"{at}.conv1.bias", 0))
        for at in (f"blocks.{i}.0" for i in range(count(state, r"blocks\.(\d+)\.")))
    ]
    network = made(
        ResidualCritic,
        state,
        channels,
        pools=len(channels) - (2 if len(channels) == 4 else 1),  # at 32 pixels two of the four blocks rest, else one
        classes=agreed(state, ("embed.weight", 0)),
        wide=True,
        attention=numbers(state, r"blocks\.(\d+)\.1\."),
    )
    return iterate(fill(network, state, renamed(network, CRITIC, SPECTRAL), ignored=IGNORED))
