"""Public weights as a GAN of ours: one file per layout, each pure functions from a state dict to our networks.

    gan = minegan_lite.checkpoints.load("G_ema.pth", critic="D.pth")

A layout is a module with NAME and three functions (see `Layout`); a new one is added to LAYOUTS, and the facts about
it to `about.ABOUT`, nowhere else. `describe` says what a file holds, `sample` draws images of a loaded one.
"""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import nn

from minegan_lite.checkpoints import (
    about,
    biggan_deep_hf,
    biggan_pytorch,
    biggan_studiogan,
    dcgan,
    mobilestylegan_openvino,
    pgan_zoo,
    progan_genforce,
    sngan_chainer,
    sngan_mimicry,
    sngan_studiogan,
    stylegan2_ada,
    stylegan2_rosinality,
    stylegan_rosinality,
)
from minegan_lite.checkpoints.about import format_description as format_description
from minegan_lite.checkpoints.reading import read
from minegan_lite.checkpoints.sampling import sample as sample
from minegan_lite.checkpoints.states import tidy
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.shown import shown

LARGEST = 2048  # pixels a side, twice the published networks'
# About.family → GAN.family, by which mine() chooses its preset
FAMILIES = {
    "BigGAN": "biggan", "BigGAN-deep": "biggan", "Progressive GAN": "progan", "SNGAN": "sngan", "StyleGAN": "stylegan",
    "StyleGAN2": "stylegan", "MobileStyleGAN": "stylegan", "DCGAN": "logistic",
}  # fmt: skip


class Layout(Protocol):
    """What a layout module offers. `state` is what `states.tidy` leaves of a file: nested dicts, float32 tensors.

    Two names are optional: ALLOWED_GLOBALS, pairs (class of ours, "full.name" in the pickle) that its files need, and
    HINTS, {part of a class name in the pickle: what to do}, for files that no safe reader opens.
    """

    NAME: str

    def matches(self, state: Mapping[str, Any]) -> bool:
        """Whether a file with these keys holds a generator in this layout; only one layout may say yes."""

    def generator(self, state: Mapping[str, Any], averaged: bool) -> nn.Module:
        """The generator, every tensor from the file; the averaged one where there are two and `averaged` is true."""

    def critic(self, state: Mapping[str, Any]) -> nn.Module | None:
        """The critic in the same file, or in the file given as critic; None where `state` holds none.

        A layout that reads no critics has `critic = None` in place of the function.
        """


LAYOUTS: tuple[ModuleType, ...] = (
    biggan_deep_hf,
    biggan_pytorch,
    biggan_studiogan,
    dcgan,
    mobilestylegan_openvino,
    pgan_zoo,
    progan_genforce,
    sngan_chainer,
    sngan_mimicry,
    sngan_studiogan,
    stylegan2_ada,
    stylegan2_rosinality,
    stylegan_rosinality,
)


def load(
    source: str | Path | Mapping[str, Any],
    layout: str | None = None,
    *,
    critic: str | Path | Mapping[str, Any] | None = None,
    averaged: bool = True,
    name: str | None = None,
) -> GAN:
    """A GAN from a public checkpoint: float32 on the CPU, in eval mode, prior N(0, I); critic None if there is none.

    source: a file (.pth, .pt, .npz, .safetensors; of random-face SynthesisNetwork.xml, with the three files beside it),
    or the dict in it. layout: a layout's name, None to recognise it by the tensors' names. critic: the critic's file,
    if it has one of its own. averaged: of a file with two generators, whether to take the averaged one. name: of the
    GAN, by default the file's or the layout's. Sizes are inferred from the tensors' shapes. No code in a file is ever
    run. Raises UserError for a file that is missing, damaged, hostile, larger than `reading.LIMIT` or in an unknown
    layout, and for a tensor that is missing, has another shape or does not hold weights.
    """
    return _load(source, layout, critic, averaged, name)[1]


def describe(
    source: str | Path | Mapping[str, Any],
    layout: str | None = None,
    *,
    critic: str | Path | Mapping[str, Any] | None = None,
    averaged: bool = True,
) -> dict[str, Any]:
    """What a public checkpoint holds, JSON-ready, after reading all of it once; `format_description` makes it text.

    Arguments and errors are `load`'s. Keys: name, layout, architecture, image_shape, latent_dim, classes and
    embedding_dim (None for an unconditional one), truncation (whether `sample` takes one), generator_parameters,
    critic_parameters (None where there is none), origin, published_critic, code_licence, weights_licence.
    """
    chosen, gan = _load(source, layout, critic, averaged, None)
    return about.description(gan, chosen.NAME)


def _load(source, layout: str | None, critic, averaged: bool, name: str | None) -> tuple[ModuleType, GAN]:
    """What `load` does, and the layout it found."""
    chosen = None
    try:
        state = _open(source)
        chosen = _layout(state, layout)
        critic_state = state if critic is None else _open(critic)
        if critic is not None and chosen.critic is None:
            raise UserError(f"the layout {chosen.NAME} reads no critics (of them: {about.ABOUT[chosen.NAME].critic})")
        with torch.random.fork_rng(devices=[]):  # networks draw their first weights, which the file then replaces
            generator = chosen.generator(state, averaged)
            judge = None if chosen.critic is None else chosen.critic(critic_state)
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {shown(error)}"  # values and sizes of which no network can be made
        as_what = f"in the layout {chosen.NAME}" if chosen else "as a state dict"
        raise UserError(f"the checkpoint cannot be read {as_what}, it is damaged: {what}") from error
    if max(generator.image_shape) > LARGEST:
        raise UserError(f"the checkpoint's images would have {max(generator.image_shape)} pixels a side: it is damaged")
    if judge is None and critic is not None:
        raise UserError(f"no critic in the layout {chosen.NAME} in {_called(critic)}: give the discriminator's file")
    own = chosen.NAME if isinstance(source, Mapping) else shown(Path(source).stem)
    prior, family = StandardNormal(generator.latent_dim), FAMILIES[about.ABOUT[chosen.NAME].family]
    return chosen, GAN(generator.eval(), None if judge is None else judge.eval(), prior, name or own, family)


def _open(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(source, Mapping):
        return tidy(source)
    if Path(source).suffix.lower() == ".xml":
        return tidy(mobilestylegan_openvino.read(Path(source)))
    allowed = [pair for layout in LAYOUTS for pair in getattr(layout, "ALLOWED_GLOBALS", ())]
    hints = {part: hint for layout in LAYOUTS for part, hint in getattr(layout, "HINTS", {}).items()}
    return tidy(read(Path(source), allowed, hints))


def _layout(state: dict[str, Any], name: str | None) -> ModuleType:
    known = ", ".join(layout.NAME for layout in LAYOUTS)
    found = [layout for layout in LAYOUTS if (layout.matches(state) if name is None else name == layout.NAME)]
    if name is not None and not found:
        raise UserError(f"unknown layout {name!r}: known are {known}")
    if len(found) == 1:
        return found[0]
    inner = {key: value for key, value in state.items() if isinstance(value, Mapping)}
    for key, value in inner.items():
        if nested := [layout.NAME for layout in LAYOUTS if layout.matches(value)]:
            raise UserError(
                f"the checkpoint holds a generator in the layout {nested[0]} under '{shown(key)}', which is "
                "not where that layout has it: save that dict alone"
            )
    held = f"it holds {', '.join(shown(key, most=40) for key in list(inner)[:8])}, and " if inner else ""
    keys = ", ".join(shown(key, most=40) for key in list(state)[:4]) or "none"
    raise UserError(f"{held}no known generator layout has these keys ({keys}, …): known are {known}")


def _called(source: str | Path | Mapping[str, Any]) -> str:
    return "the given critic" if isinstance(source, Mapping) else shown(source, most=4096)
