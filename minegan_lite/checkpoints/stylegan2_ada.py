"""StyleGAN2-ADA (NVlabs/stylegan2-ada-pytorch), as plain state dicts that the recipe in HINTS makes of its pickles.

Those pickles bring their own source code and run it when opened, so they are never opened here. The recipe also keeps
two settings that cannot be inferred from tensors: the group size of the minibatch deviation, and the bound on
activations of training in half precision. For a state dict without them the code's defaults hold: 4, and no bound. The
published weights are for non-commercial use.
"""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import agreed, fill, made, numbers, renamed
from minegan_lite.checkpoints.parts import check_filters, generator_part, part
from minegan_lite.errors import UserError
from minegan_lite.networks import stylegan2
from minegan_lite.shown import shown

NAME = "stylegan2-ada"
PARTS = ("G_ema", "G")
FILTERS = r"\.resample_filter$"
RECIPE = (
    "this pickle runs code when opened; if you trust it, convert it once in a clone of NVlabs/stylegan2-ada-pytorch: "
    "python -c \"import pickle, torch; d = pickle.load(open('FILE.pkl', 'rb')); "
    "torch.save({**{k: d[k].state_dict() for k in ('G', 'D', 'G_ema')}, 'mbstd_group_size': "
    "d['D'].b4.mbstd.group_size, 'conv_clamp': d['G_ema'].synthesis.b4.conv1.conv_clamp}, 'FILE.pt')\""
)
HINTS = {"torch_utils.persistence": RECIPE}


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith("synthesis.b4.") for key in generator_part(state, True, *PARTS))


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own = generator_part(state, averaged, *PARTS)
    check_filters(own, FILTERS, stylegan2.BLUR)
    if any(key.startswith("mapping.embed.") for key in own):
        raise UserError("the checkpoint's generator is conditional, only unconditional StyleGAN2 is supported")
    sides = numbers(own, r"synthesis\.b(\d+)\.")
    channels = [
        agreed(own, *((f"synthesis.b{r}.conv1.{at}", i) for at, i in (("bias", 0), ("weight", 0), ("weight", 1))))
        for r in sides
    ]
    fc = [f"mapping.fc{i}" for i in numbers(own, r"mapping\.fc(\d+)\.")]
    network = made(
        stylegan2.Generator,
        own,
        channels,
        latent_dim=agreed(own, ("mapping.fc0.weight", 1)),
        style_dim=agreed(own, *((f"{at}.bias", 0) for at in fc), ("mapping.w_avg", 0)),
        depth=len(fc),
        image_channels=agreed(own, *((f"synthesis.b{r}.torgb.bias", 0) for r in sides)),
        clamp=_clamp(state),
        ada=True,
    )

    def convolution(number: str) -> str:
        i = int(number)  # one at 4×4, then two a resolution
        return f"synthesis.b{4 << (i + 1) // 2}.conv{(i + 1) % 2}"

    rules = (
        (r"^mapping\.layers\.", "mapping.fc"),
        (r"^w_mean$", "mapping.w_avg"),
        (r"^constant$", "synthesis.b4.const"),
        (r"^noise_(\d+)$", lambda match: f"{convolution(match[1])}.noise_const"),
        (r"^convs\.(\d+)\.noise$", lambda match: f"{convolution(match[1])}.noise_strength"),
        (r"^convs\.(\d+)", lambda match: convolution(match[1])),
        (r"^to_rgb\.(\d+)", lambda match: f"synthesis.b{4 << int(match[1])}.torgb"),
        (r"\.conv\.", "."),
    )
    return fill(network, own, renamed(network, rules, {}), ignored=FILTERS)


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = part(state, "D")
    if not any(key.startswith("b4.") for key in own):
        return None
    check_filters(own, FILTERS, stylegan2.BLUR)
    sides = numbers(own, r"b(\d+)\.")
    channels = [agreed(own, ("b4.conv.bias", 0), ("b4.conv.weight", 0), ("b4.fc.bias", 0))]
    channels += [
        agreed(own, (f"b{r}.conv0.bias", 0), (f"b{r}.conv0.weight", 0), (f"b{r}.conv1.weight", 1)) for r in sides[1:]
    ]
    network = made(
        stylegan2.Critic,
        own,
        channels,
        image_channels=agreed(own, (f"b{sides[-1]}.fromrgb.weight", 1)),
        group=_group(state),
        clamp=_clamp(state),
        ada=True,
    )
    rules = (
        (r"^from_rgb\.", f"b{sides[-1]}.fromrgb."),
        (r"^blocks\.(\d+)\.", lambda match: f"b{8 << int(match[1])}."),
        (r"^last\.", "b4.conv."),
        (r"^dense\.", "b4.fc."),
        (r"^score\.", "b4.out."),
    )
    return fill(network, own, renamed(network, rules, {}), ignored=FILTERS)


def _clamp(state: Mapping[str, Any]) -> float | None:
    clamp = state.get("conv_clamp")
    if clamp is None or (type(clamp) in (int, float) and 0 < clamp < math.inf):
        return clamp
    raise UserError(f"the checkpoint's conv_clamp is {shown(clamp)}: it is a number above 0, or None")


def _group(state: Mapping[str, Any]) -> int:
    group = state.get("mbstd_group_size", 4)
    if type(group) is int and group > 0:
        return group
    raise UserError(f"the checkpoint's mbstd_group_size is {shown(group)}: it is a whole number above 0")
