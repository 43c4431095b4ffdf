"""What every distance asks of its features first: one line for what cannot be measured, a warning for what misleads."""

import warnings

import torch
from torch import Tensor

from minegan_lite.errors import UserError


class FewRows(UserWarning):
    """The number stands, but at so few rows it is far off: read it beside its floor at the same n, or not at all."""


def checked(x: Tensor, y: Tensor, *, at_least: int = 0) -> tuple[Tensor, Tensor]:
    """Features (n, d) and (m, d) in float64, on the CPU, without a graph.

    Raises UserError for anything but two matrices with one d ≥ 1, fewer than `at_least` rows in either, NaN and
    infinite numbers.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise UserError(f"features must be (n, d) and (m, d) with one d, got {tuple(x.shape)} and {tuple(y.shape)}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise UserError("the features hold NaN or infinite numbers: no distance can be stated")
    if min(len(x), len(y)) < at_least:
        raise UserError(f"this measure needs at least {at_least} rows on each side, got {len(x)} and {len(y)}")
    return x.detach().to("cpu", torch.float64), y.detach().to("cpu", torch.float64)


def warn(message: str, above: int = 1) -> None:
    """A FewRows warning at the line that called the distance, `above` calls above this function's caller."""
    warnings.warn(message, FewRows, stacklevel=2 + above)
