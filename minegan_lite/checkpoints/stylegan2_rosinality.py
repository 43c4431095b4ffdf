"""The StyleGAN2 of rosinality/stylegan2-pytorch: {g, d, g_ema, …, latent_avg}, or a state dict alone.

Files converted from the authors' weights may lack g and d; files of this code's own training lack latent_avg, and the
oldest files lack the noise constants. What is missing is replaced: the mean w is measured, and the noise is ours.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import Rule, agreed, count, fill, made, renamed, shaped
from minegan_lite.checkpoints.parts import check_filters, generator_part, part
from minegan_lite.networks import stylegan2

NAME = "stylegan2-rosinality"
PARTS = ("g_ema", "g")
FILTERS = r"\.(blur|upsample)\.kernel$"
CRITIC_FILTERS = r"\.0\.kernel$"
GENERATOR = (
    (r"^mapping\.layers\.(\d+)\.", lambda match: f"style.{int(match[1]) + 1}."),
    (r"^constant$", "input.input"),
    (r"^noise_", "noises.noise_"),
    (r"^convs\.0\.", "conv1."),
    (r"^convs\.(\d+)\.", lambda match: f"convs.{int(match[1]) - 1}."),
    (r"^(conv.*)\.noise$", r"\1.noise.weight"),
    (r"^(conv1|convs\.\d+)\.bias$", r"\1.activate.bias"),
    (r"^to_rgb\.0\.", "to_rgb1."),
    (r"^to_rgb\.(\d+)\.", lambda match: f"to_rgbs.{int(match[1]) - 1}."),
    (r"\.affine\.", ".modulation."),
)


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith("conv1.conv.modulation.") for key in generator_part(state, True, *PARTS))


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own = generator_part(state, averaged, *PARTS)
    check_filters(own, FILTERS, stylegan2.BLUR, total=4)
    n = 1 + count(own, r"to_rgbs\.(\d+)\.")
    channels = [agreed(own, ("conv1.activate.bias", 0), ("conv1.conv.weight", 1), ("input.input", 1))]
    for i in range(1, n):
        second = f"convs.{2 * i - 1}"
        channels.append(
            agreed(own, (f"{second}.activate.bias", 0), (f"{second}.conv.weight", 1), (f"{second}.conv.weight", 2))
        )
    style_dim = agreed(own, *((f"convs.{i}.conv.modulation.weight", 1) for i in range(2 * n - 2)))
    network = made(
        stylegan2.Generator,
        own,
        channels,
        latent_dim=agreed(own, ("style.1.weight", 1)),
        style_dim=style_dim,
        depth=count(own, r"style\.(\d+)\.") - 1,  # they count from 1
        image_channels=agreed(own, ("to_rgb1.bias", 1), ("to_rgb1.conv.weight", 1)),
    )
    names = renamed(network, GENERATOR, {})
    del names["w_mean"]
    lacking = [ours for ours, theirs in names.items() if ours.startswith("noise_") and theirs not in own]
    names = {ours: theirs for ours, theirs in names.items() if ours not in lacking}
    fill(network, own, names, keep=["w_mean", *lacking], ignored=FILTERS)
    if "latent_avg" in state:
        network.w_mean.copy_(shaped(state, "latent_avg", (style_dim,)))
    else:
        network.measure_w_mean()
    return network


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = part(state, "d")
    if not any(key.startswith("final_linear.") for key in own):
        return None
    check_filters(own, CRITIC_FILTERS, stylegan2.BLUR)
    n = count(own, r"convs\.(\d+)\.")  # counted from the full resolution down
    channels = [agreed(own, ("final_conv.1.bias", 0), ("final_conv.0.weight", 0), ("final_linear.0.bias", 0))]
    for i in reversed(range(1, n)):
        at = f"convs.{i}.conv1"
        channels.append(agreed(own, (f"{at}.0.weight", 0), (f"{at}.0.weight", 1), (f"{at}.1.bias", 0)))
    network = made(stylegan2.Critic, own, channels, image_channels=agreed(own, ("convs.0.0.weight", 1)))
    return fill(network, own, renamed(network, critic_rules(n), {}), ignored=CRITIC_FILTERS)


def critic_rules(n: int) -> tuple[Rule, ...]:
    """n: the number of resolutions."""
    return (
        (r"^from_rgb\.weight", "convs.0.0.weight"),
        (r"^from_rgb\.bias", "convs.0.1.bias"),
        (r"^blocks\.(\d+)\.", lambda match: f"convs.{n - 1 - int(match[1])}."),
        (r"\.conv1\.(weight|bias)$", lambda match: f".conv2.{'1' if match[1] == 'weight' else '2'}.{match[1]}"),
        (r"\.conv0\.(weight|bias)$", lambda match: f".conv1.{'0' if match[1] == 'weight' else '1'}.{match[1]}"),
        (r"\.skip\.", ".skip.1."),
        (r"^last\.(weight|bias)$", lambda match: f"final_conv.{'0' if match[1] == 'weight' else '1'}.{match[1]}"),
        (r"^dense\.", "final_linear.0."),
        (r"^score\.", "final_linear.1."),
    )
