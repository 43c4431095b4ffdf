"""What every distance asks of its features, and of its result: one line for what cannot be measured."""

import math
import warnings

import torch
from torch import Tensor

from minegan_lite.errors import UserError


class FewRows(UserWarning):
    """The number stands, but at so few rows it is far off: read it beside its floor at the same n, or not at all."""


class UnsignedImages(UserWarning):
    """No value of a set of images is below 0, so that they probably lie in [0, 1]: `x * 2 - 1` brings them to [−1, 1].

    Features of such images are not those of the images that were meant. A set of nothing but bright images is right
    as it is.
    """


def float_tensors(*sides: Tensor) -> None:
    """Raises UserError for anything but tensors of real floating-point numbers: arrays, integers, complex numbers."""
    for side in sides:
        if not isinstance(side, Tensor):
            raise UserError(f"features must be tensors, got {type(side).__name__}: torch.as_tensor converts arrays")
        if not side.is_floating_point():
            raise UserError(f"features must be real floating-point numbers, got {side.dtype}: convert them first")


def checked(x: Tensor, y: Tensor, *, at_least: int = 0) -> tuple[Tensor, Tensor]:
    """Features (n, d) and (m, d) in float64, on the CPU, without a graph.

    Raises UserError for anything but two floating-point matrices with one d ≥ 1, for fewer than `at_least` rows in
    either, and for NaN and infinite numbers.
    """
    float_tensors(x, y)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise UserError(f"features must be (n, d) and (m, d) with one d, got {tuple(x.shape)} and {tuple(y.shape)}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise UserError("the features hold NaN or infinite numbers: no distance can be stated")
    if min(len(x), len(y)) < at_least:
        raise UserError(f"this measure needs at least {at_least} rows on each side, got {len(x)} and {len(y)}")
    return x.detach().to("cpu", torch.float64), y.detach().to("cpu", torch.float64)


def magnitude(*sides: Tensor) -> float:
    """A power of two about as large as the largest number of float64 tensors, none of them empty.

    Features are divided by it before they are squared: squares of 1e200 would overflow, and those of 1e−200 vanish.
    The division itself rounds nothing.
    """
    largest = max(abs(end.item()) for side in sides for end in side.aminmax())
    return 2.0 ** max(-1000, min(1000, math.frexp(largest)[1]))  # beyond, the power is no float


def all_alike(x: Tensor) -> bool:
    """Whether all rows of (n, d), n ≥ 1, are the same: a variance would say so only up to its rounding."""
    return bool((x == x[0]).all())


def finite(value: Tensor | float) -> float:
    """The number that a measure found. Raises UserError where its arithmetic overflowed: that is no result."""
    number = float(value)
    if not math.isfinite(number):
        raise UserError("the features are too large for this measure: divide all of them by one constant")
    return number


def warn(message: str, above: int = 1, category: type[UserWarning] = FewRows) -> None:
    """A warning at the line that called the distance, `above` calls above this function's caller."""
    warnings.warn(message, category, stacklevel=2 + above)
