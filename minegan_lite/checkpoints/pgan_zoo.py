"""The Progressive GAN of pytorch_GAN_zoo (facebookresearch): {config, netG, netD, avgG} in one file.

Its layers multiply the bias, too, by √(2/fan-in), have the gain √2 throughout, and start from a dense layer. Its alpha,
kept in the config, is the lower resolution's share.
"""

from collections.abc import Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import Rule, agreed, count, fill, renamed
from minegan_lite.checkpoints.parts import generator_part
from minegan_lite.errors import UserError
from minegan_lite.networks import progan
from minegan_lite.networks.style_layers import MinibatchStddev

NAME = "pgan-zoo"
PARTS = ("avgG", "netG")
SETTINGS = {"leakyReluLeak": 0.2, "perChannelNormalization": True, "equalizedlR": True}


class Config:
    """Stands for the pickled config object of these files: attributes alone, no code."""


ALLOWED_GLOBALS = [(Config, "models.utils.config.BaseConfig")]


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith("formatLayer.") for key in generator_part(state, True, *PARTS))


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own, alpha = generator_part(state, averaged, *PARTS), _alpha(state)
    m = _infix(own)
    at = [f"scaleLayers.{i}" for i in range(count(own, r"toRGBLayers\.(\d+)\.") - 1)]
    channels = [
        agreed(own, (f"toRGBLayers.0{m}.weight", 1), (f"groupScale0.0{m}.weight", 0), (f"groupScale0.0{m}.bias", 0))
    ]
    channels += [agreed(own, (f"{a}.1{m}.weight", 0), (f"{a}.0{m}.weight", 0), (f"{a}.0{m}.bias", 0)) for a in at]
    network = progan.Generator(
        channels,
        latent_dim=agreed(own, (f"formatLayer{m}.weight", 1)),
        image_channels=agreed(own, *((f"toRGBLayers.{i}{m}.bias", 0) for i in range(len(at) + 1))),
        lod=alpha,
        zoo=True,
    )
    return fill(network, own, renamed(network, generator_rules(m), {}))


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = state.get("netD", state)
    if not any(key.startswith("decisionLayer.") for key in own):
        return None
    m = _infix(own)
    at = [f"scaleLayers.{i}" for i in range(count(own, r"fromRGBLayers\.(\d+)\.") - 1)]
    channels = [
        agreed(
            own, *((f"{at0}{m}.{w}", 0) for at0 in ("fromRGBLayers.0", "groupScaleZero.0") for w in ("bias", "weight"))
        )
    ]
    channels += [agreed(own, (f"{a}.0{m}.weight", 0), (f"{a}.0{m}.bias", 0), (f"{a}.1{m}.weight", 1)) for a in at]
    network = progan.Critic(
        channels,
        image_channels=agreed(own, (f"fromRGBLayers.{len(at)}{m}.weight", 1)),
        hidden=agreed(
            own, *((f"groupScaleZero.1{m}.{what}", 0) for what in ("bias", "weight")), (f"decisionLayer{m}.weight", 1)
        ),
        lod=_alpha(state) if len(at) > 1 else 0,  # at 8×8 the original critic does not blend
        stddev=MinibatchStddev(4, contiguous=True),
        zoo=True,
    )
    return fill(network, own, renamed(network, critic_rules(m), {}))


def generator_rules(m: str) -> tuple[Rule, ...]:
    """From the names of our generator's tensors to those in the file."""
    return (
        (r"^project\.", f"formatLayer{m}."),
        (r"^first\.", f"groupScale0.0{m}."),
        (r"^blocks\.(\d+)\.([01])\.", rf"scaleLayers.\1.\2{m}."),
        (r"^to_rgb\.(\d+)\.", rf"toRGBLayers.\1{m}."),
    )


def critic_rules(m: str) -> tuple[Rule, ...]:
    """From the names of our critic's tensors to those in the file."""
    return (
        (r"^from_rgb\.(\d+)\.", rf"fromRGBLayers.\1{m}."),
        (r"^blocks\.(\d+)\.([01])\.", rf"scaleLayers.\1.\2{m}."),
        (r"^last\.", f"groupScaleZero.0{m}."),
        (r"^dense\.", f"groupScaleZero.1{m}."),
        (r"^score\.", f"decisionLayer{m}."),
    )


def _infix(state: Mapping[str, Any]) -> str:
    """What stands before .weight and .bias; older files have nothing there."""
    return ".module" if any(".module." in key for key in state) else ""


def _alpha(state: Mapping[str, Any]) -> float:
    """The lower resolution's share, 0 once training is done. Raises UserError for a config that our network is not."""
    config = vars(state["config"]) if isinstance(state.get("config"), Config) else {}
    for name, known in SETTINGS.items():
        if config.get(name, known) != known:
            raise UserError(f"the checkpoint's config has {name} = {config[name]!r}, only {known!r} is supported")
    return min(max(float(config.get("alpha", 0)), 0.0), 1.0)
