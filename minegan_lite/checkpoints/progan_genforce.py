"""The authors' Progressive GANs as genforce converted them: genforce/genforce (new), InterFaceGAN and kin (old).

New files hold {generator, discriminator, generator_smooth}, old ones a generator with other names for the same tensors.
The first layer is a 4×4 convolution of a 1×1 image with padding 3, biases are not scaled, and the new code normalises
the latent twice.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import Rule, agreed, count, fill, made, renamed, shaped
from minegan_lite.checkpoints.parts import generator_part, part
from minegan_lite.errors import UserError
from minegan_lite.networks import progan
from minegan_lite.networks.style_layers import MinibatchStddev

NAME = "progan-genforce"
PARTS = ("generator_smooth", "generator")
IGNORED = r"^lod$"


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    own = generator_part(part(state, "models"), True, *PARTS)
    return any(re.match(r"output\d", key) for key in own)


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own = generator_part(part(state, "models"), averaged, *PARTS)
    old = any(".wscale." in key for key in own)
    w, b = (".conv.weight", ".wscale.bias") if old else (".weight", ".bias")
    n = count(own, r"output(\d+)\.")
    channels = [
        agreed(own, (f"layer{2 * i}{b}", 0), (f"layer{2 * i + 1}{b}", 0), (f"layer{2 * i + 1}{w}", 0)) for i in range(n)
    ]
    network = made(
        progan.Generator,
        own,
        channels,
        latent_dim=agreed(own, (f"layer0{w}", 1)),
        image_channels=agreed(own, *((f"output{i}{b}", 0) for i in range(n))),
        lod=math.floor(_lod(own, n)) if old else _lod(own, n),  # old code does not blend
        norms=1 if old else 2,
    )
    return fill(network, own, renamed(network, generator_rules(w, b), {}), ignored=IGNORED)


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = part(part(state, "models"), "discriminator")
    if not any(re.match(r"input\d", key) for key in own):
        return None
    n = count(own, r"input(\d+)\.")  # counted from the full resolution down
    channels = [
        agreed(own, (f"input{i}.bias", 0), (f"layer{2 * i}.bias", 0), (f"layer{2 * i}.weight", 0))
        for i in reversed(range(n))
    ]
    network = made(
        progan.Critic,
        own,
        channels,
        image_channels=agreed(own, *((f"input{i}.weight", 1) for i in range(n))),
        hidden=agreed(
            own, *((f"layer{2 * n - 1}.{what}", 0) for what in ("bias", "weight")), (f"layer{2 * n}.weight", 1)
        ),
        lod=_lod(own, n),
        stddev=MinibatchStddev(16),
    )
    return fill(network, own, renamed(network, critic_rules(n), {}), ignored=IGNORED)


def generator_rules(w: str = ".weight", b: str = ".bias") -> tuple[Rule, ...]:
    """From the names of our generator's tensors to those in the file."""
    return (
        (r"^project\.", "layer0."),
        (r"^first\.", "layer1."),
        (r"^blocks\.(\d+)\.([01])\.", lambda match: f"layer{2 * int(match[1]) + 2 + int(match[2])}."),
        (r"^to_rgb\.(\d+)\.", r"output\1."),
        (r"\.weight$", w),
        (r"\.bias$", b),
    )


def critic_rules(n: int) -> tuple[Rule, ...]:
    """n: the number of resolutions."""
    return (
        (r"^from_rgb\.(\d+)\.", lambda match: f"input{n - 1 - int(match[1])}."),
        (r"^blocks\.(\d+)\.([01])\.", lambda match: f"layer{2 * (n - 2 - int(match[1])) + int(match[2])}."),
        (r"^last\.", f"layer{2 * n - 2}."),
        (r"^dense\.", f"layer{2 * n - 1}."),
        (r"^score\.", f"layer{2 * n}."),
    )


def _lod(state: Mapping[str, Any], n: int) -> float:
    lod = max(float(shaped(state, "lod", ())), 0.0) if "lod" in state else 0.0
    if not lod <= n - 1:
        raise UserError(f"the checkpoint's lod is {lod}, but it has {n} resolutions: fetch it again")
    return lod
