"""measure: any distance of fakes from reals, with an interval and the floor at the same n, over halves drawn again."""

import inspect
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import float_tensors

Distance = Callable[[Tensor, Tensor], float]
SHARE = 0.95


@dataclass(frozen=True)
class Measurement:
    """A number as it should be stated: with everything that it can only be compared at. asdict() of it is JSON-ready.

    distance: its name and settings, "coverage(k=5)". signature: of the features.
    value, interval: of fakes against reals, and its 95 % interval (low, high).
    floor, floor_interval: of reals against reals, and where 95 % of such divisions lie.
    n: how many fakes are compared at a time; for the floor, so many reals take their place. m: how many reals they
    are compared with. draws: value and floor are means over so many comparisons.
    """

    distance: str
    value: float
    interval: tuple[float, float]
    floor: float
    floor_interval: tuple[float, float]
    n: int
    m: int
    draws: int
    signature: str

    def __str__(self) -> str:
        value, low, high, floor, least, most = (
            f"{number:.4g}" for number in (self.value, *self.interval, self.floor, *self.floor_interval)
        )
        return (
            f"{self.distance}: {value} [{low}, {high}], real vs real {floor} [{least}, {most}]; "
            f"n={self.n}, m={self.m}, features {self.signature}"
        )


def measure(
    distance: Distance, *, real: Tensor, fake: Tensor, rng: torch.Generator, signature: str, draws: int = 100
) -> Measurement:
    """distance(reals, fakes) with its floor and a 95 % interval, all at n reals against as many fakes.

    distance: any function of rows (n, …) and (n, …) that gives a finite number; functools.partial sets its options:
        `partial(coverage, k=1)`. real, fake: features or images, at least 4 each; n is half of the shorter side, and
        of the longer 2n are drawn first. rng: draws these and the halves. signature: what the rows are, as
        `features.signature` says it. draws: how many each mean and each interval comes from.

    For each draw, the reals are divided at random into halves A and B, and a half F of the fakes is drawn. The value
    is the mean of distance(A, F), the floor that of distance(A, B), so that both have the same n, m and reference.
    The interval is the middle 95 % of the distance(A, F): halves drawn without replacement spread as much as
    independent sets of 2n do (the delete-half jackknife, a bootstrap with exchangeable weights: Præstgaard & Wellner
    1993). Drawing with replacement would not do here: repeated rows look like copies, which no distance between
    neighbours forgives. The interval says what the same measure, with the bias of this n, would find for new fakes of
    this generator and new reals. It does not say what a repeated training would give. Between equal laws, and for
    neighbour_accuracy, it is too wide, by half in our trials. A generator without fault would be seen in the floor's
    interval, if it imitates the very law of the reals given: reals from MNIST's test split were written by other
    people than the training split that generators imitate, so that this floor is a little too good for them.

    Raises UserError for anything but floating-point tensors, fewer than 4 rows on either side, a single draw, and
    distances that are not finite.
    """
    float_tensors(real, fake)
    n = min(len(real), len(fake)) // 2
    if n < 2:
        raise UserError(f"halves need at least 4 reals and 4 fakes, got {len(real)} and {len(fake)}")
    if draws < 2:
        raise UserError(f"an interval needs at least 2 draws, got {draws}")
    real, fake = (rows[torch.randperm(len(rows), generator=rng)[: 2 * n]] for rows in (real, fake))
    blocks = (fake[torch.randperm(2 * n, generator=rng)[:n]] for _ in range(draws))
    pairs = [(distance(a, block), distance(a, b)) for block, a, b in against_halves(blocks, real, rng)]
    values, floors = zip(*pairs, strict=True)
    name = _stated(distance)
    if not all(map(math.isfinite, values + floors)):
        raise UserError(f"{name} is not finite on these rows: nothing can be stated")
    return Measurement(
        name, statistics.fmean(values), _middle(values), statistics.fmean(floors), _middle(floors), n, n, draws,
        signature,
    )  # fmt: skip


def against_halves(
    blocks: Iterable[Tensor], real: Tensor, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Each block of fakes with two disjoint random halves A and B of the reals: what it and B are held against is A."""
    half = len(real) // 2
    for block in blocks:
        order = torch.randperm(len(real), generator=rng)
        yield block, real[order[:half]], real[order[half : 2 * half]]


def _middle(values: tuple[float, ...]) -> tuple[float, float]:
    tails = torch.tensor([(1 - SHARE) / 2, (1 + SHARE) / 2], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(tails).tolist()
    return low, high


def _stated(distance: Distance) -> str:
    """A distance's name and the settings that it has, partial's or default: "kmmd(sigma=1.0)"."""
    function = getattr(distance, "func", distance)  # partial's
    name = getattr(function, "__name__", type(function).__name__)
    settings = [
        f"{setting.name}={setting.default!r}"
        for setting in inspect.signature(distance).parameters.values()
        if setting.default is not setting.empty
    ]
    return f"{name}({', '.join(settings)})" if settings else name
