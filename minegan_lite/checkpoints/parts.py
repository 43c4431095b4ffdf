"""What the layouts of Progressive GAN and the StyleGANs share: files of several networks, and filters kept in them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.shown import shown


def part(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The dict that a file holds under a name, or the file itself where it has none; UserError for what is no dict."""
    own = state.get(name)
    if own is None:
        return state
    if not isinstance(own, Mapping):
        raise UserError(f"the checkpoint's '{name}' is a {shown(type(own).__name__)}, not a dict of tensors")
    return own


def generator_part(state: Mapping[str, Any], averaged: bool, average: str, raw: str) -> Mapping[str, Any]:
    """The generator's state dict in a file that holds several networks, or the file itself where it is one.

    average, raw: what the file calls its averaged generator and the other. Raises UserError where it lacks the one that
    is wanted, unless the averaged one is wanted and there is only the other.
    """
    held = {name: state[name] for name in (average, raw) if isinstance(state.get(name), Mapping)}
    if not held:
        return state
    if not averaged and raw not in held:
        raise UserError(f"the checkpoint holds the averaged generator {average!r} alone: load it with averaged=True")
    return held.get(average if averaged else raw, held.get(raw, {}))


def check_filters(state: Mapping[str, Any], pattern: str, taps: Sequence[float], total: float = 1) -> None:
    """That the resampling filters kept under keys like `pattern` are the known one: taps ⊗ taps, summing to `total`.

    Raises UserError for a file with another, which our networks would not apply.
    """
    line = torch.tensor(taps)
    known = torch.outer(line, line) * total / line.sum() ** 2
    for key, value in state.items():
        if not re.search(pattern, key):
            continue
        fits = isinstance(value, Tensor) and value.shape[-2:] == known.shape  # (…, k, k)
        if not (fits and ((value - known).abs() <= 1e-3).all()):  # NaN is near nothing
            raise UserError(f"the checkpoint's filter '{shown(key)}' is not the one that this layout resamples with")
