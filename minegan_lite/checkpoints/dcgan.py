"""PyTorch's DCGAN (the examples' and the tutorial's): a generator alone, in two spellings.

Either the layers are numbered in one nn.Sequential, `main.0`, `main.1`, `main.3`, …, as the tutorial writes them, or
they are named `convTr1`, `batchNorm1`, …; the convolutions have no biases. A file may keep the generator under
"netG_state_dict". Critics of this layout are not read: the packages that ship such generators have none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from minegan_lite.checkpoints.loading import agreed, count, fill, made, renamed
from minegan_lite.checkpoints.parts import part
from minegan_lite.networks import dcgan

NAME = "dcgan"
HELD = "netG_state_dict"
critic = None


def matches(state: Mapping[str, Any]) -> bool:
    """Whether `state` holds a generator in this layout (Layout.matches)."""
    held = state.get(HELD, state)
    return isinstance(held, Mapping) and any(
        {conv, norm} <= held.keys()
        for conv, norm in (("main.3.weight", "main.1.running_mean"), ("convTr2.weight", "batchNorm1.running_mean"))
    )


def generator(state: Mapping[str, Any], averaged: bool) -> nn.Module:
    """The generator that `state` holds; there is no averaged one (Layout.generator)."""
    state = part(state, HELD)
    conv, norm, norms = _spelling(state)
    channels = [
        agreed(state, (conv(i), 1), *((f"{norm(i)}.{what}", 0) for what in ("weight", "bias", "running_mean")))
        for i in range(norms)
    ]
    sizes = (agreed(state, (conv(0), 0)), channels, agreed(state, (conv(norms), 1)))
    network = made(dcgan.Generator, state, *sizes)
    rules = (
        (r"^convs\.(\d+)\.weight$", lambda match: conv(int(match[1]))),
        (r"^norms\.(\d+)", lambda match: norm(int(match[1]))),
    )
    return fill(network, state, renamed(network, rules, {}), ignored=r"\.num_batches_tracked$")


def _spelling(state: Mapping[str, Any]) -> tuple[Callable[[int], str], Callable[[int], str], int]:
    """What convolution i and its norm are called, from 0 on, and how many norms there are."""
    if any(key.startswith("convTr") for key in state):
        norms = count(state, r"convTr(\d+)\.weight$") - 2  # its convolutions count from 1
        return lambda i: f"convTr{i + 1}.weight", lambda i: f"batchNorm{i + 1}", norms
    norms = (count(state, r"main\.(\d+)\.weight$") - 1) // 3  # each with a convolution before and a ReLU behind it
    return lambda i: f"main.{3 * i}.weight", lambda i: f"main.{3 * i + 1}", norms
