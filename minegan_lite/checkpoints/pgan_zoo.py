"""The Progressive GAN of pytorch_GAN_zoo (facebookresearch): {config, netG, netD, avgG} in one file.

Here √(2/fan-in) multiplies the bias as well as the weight, every layer has the gain √2, and the first layer is dense.
`alpha`, in the config, is the weight of the lower resolution's image; the config's loss says whether the generator ends
in a tanh.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.checkpoints.loading import Rule, agreed, count, fill, made, renamed
from minegan_lite.checkpoints.parts import generator_part, part
from minegan_lite.errors import UserError
from minegan_lite.networks import progan
from minegan_lite.networks.style_layers import MinibatchStddev
from minegan_lite.shown import shown

NAME = "pgan-zoo"
PARTS = ("avgG", "netG")
SETTINGS = {"leakyReluLeak": 0.2, "perChannelNormalization": True, "equalizedlR": True, "categoryVectorDim": 0}
BOUNDED = {"WGANGP": False, "Logistic": False, "MSE": True, "DCGAN": True}  # loss: whether a tanh ends the generator


class Config:
    """Stands for the pickled config object of these files: attributes alone, no code."""

    def __setstate__(self, state):
        vars(self).update(state)


class BoundedGenerator(progan.Generator):
    """A Progressive GAN whose images a tanh bounds to [−1, 1]."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.tanh(super().forward(z))


ALLOWED_GLOBALS = [(Config, "models.utils.config.BaseConfig")]


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    return any(key.startswith("formatLayer.") for key in generator_part(state, True, *PARTS))


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds (Layout.generator)."""
    own, config = generator_part(state, averaged, *PARTS), _config(state)
    m = _infix(own)
    at = [f"scaleLayers.{i}" for i in range(count(own, r"toRGBLayers\.(\d+)\.") - 1)]
    channels = [
        agreed(own, (f"toRGBLayers.0{m}.weight", 1), (f"groupScale0.0{m}.weight", 0), (f"groupScale0.0{m}.bias", 0))
    ]
    channels += [agreed(own, (f"{a}.1{m}.weight", 0), (f"{a}.0{m}.weight", 0), (f"{a}.0{m}.bias", 0)) for a in at]
    network = made(
        BoundedGenerator if BOUNDED[config["lossCriterion"]] else progan.Generator,
        own,
        channels,
        latent_dim=agreed(own, (f"formatLayer{m}.weight", 1)),
        image_channels=agreed(own, *((f"toRGBLayers.{i}{m}.bias", 0) for i in range(len(at) + 1))),
        lod=config["alpha"],
        zoo=True,
    )
    return fill(network, own, renamed(network, generator_rules(m), {}))


def critic(state: Mapping[str, Any]) -> nn.Module | None:
    """The critic that `state` holds, None where it has none (Layout.critic)."""
    own = part(state, "netD")
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
    network = made(
        progan.Critic,
        own,
        channels,
        image_channels=agreed(own, (f"fromRGBLayers.{len(at)}{m}.weight", 1)),
        hidden=agreed(
            own, *((f"groupScaleZero.1{m}.{what}", 0) for what in ("bias", "weight")), (f"decisionLayer{m}.weight", 1)
        ),
        lod=_config(state)["alpha"] if len(at) > 1 else 0,  # at 8×8 the original critic does not blend
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
    """What precedes .weight and .bias in the file's names: ".module", or nothing in older files."""
    return ".module" if any(".module." in key for key in state) else ""


def _config(state: Mapping[str, Any]) -> dict[str, Any]:
    """The training's settings: alpha, the lower resolution's share, 0 once training is done; lossCriterion.

    Raises UserError for settings of another network than ours, or of none.
    """
    config: dict[str, Any] = {"alpha": 0, "lossCriterion": "WGANGP"}
    config |= vars(state["config"]) if isinstance(state.get("config"), Config) else {}
    for name, known in SETTINGS.items():
        if config.get(name, known) != known:
            raise UserError(f"the checkpoint's config has {name} = {shown(config[name])}, only {known} is supported")
    alpha, loss = config["alpha"], config["lossCriterion"]
    if type(alpha) not in (int, float) or not 0 <= alpha <= 1:
        raise UserError(f"the checkpoint's config has alpha = {shown(alpha)}: a share lies between 0 and 1")
    if not isinstance(loss, str) or loss not in BOUNDED:
        raise UserError(f"the checkpoint's config has the loss {shown(loss)}: known are {', '.join(BOUNDED)}")
    return config
