"""Who is near whom: precision, recall, density and coverage by balls of k neighbours, and the 1-NN two-sample test."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import checked, warn


def precision(real: Tensor, fake: Tensor, k: int = 3) -> float:
    """The share, in [0, 1], of fakes (m, d) in the ball of a real (n, d), one that reaches to its k-th nearest other.

    Kynkäänniemi et al. 2019, Eq. 2, with the strict < of prdc (Naeem et al. 2020), which matters for copies alone.
    As the other three here it depends on n, m and k, falls short of 1 for fakes of the same law, and is warned of
    (FewRows) where a ball holds a quarter of its set. A collapsed generator can have 1.
    Raises UserError for k < 1, k or fewer rows on the side of the balls, none on the other, different d, NaN and
    infinite numbers.
    """
    return _inside(real, fake, k).any(dim=0).double().mean().item()


def recall(real: Tensor, fake: Tensor, k: int = 3) -> float:
    """The share, in [0, 1], of reals (n, d) in the ball of a fake (m, d): precision with the sides exchanged.

    Kynkäänniemi et al. 2019, Eq. 2. Garbage has large balls and may hold the reals: read it beside precision.
    Raises UserError as `precision` does.
    """
    return precision(fake, real, k)


def density(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """In how many balls of reals (n, d) a fake (m, d) lies on average, by k: ≥ 0, around 1 for the same law.

    Naeem et al. 2020, Eq. 5: precision that counts balls, so that a single outlier's large one says less.
    Raises UserError as `precision` does.
    """
    return _inside(real, fake, k).sum(dim=0).double().mean().item() / k


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """The share, in [0, 1], of reals (n, d) with a fake (m, d) strictly nearer than their k-th nearest other real.

    Naeem et al. 2020, Eq. 6, as in prdc. Raises UserError as `precision` does.
    """
    return _inside(real, fake, k).any(dim=1).double().mean().item()


@dataclass(frozen=True)
class NeighbourAccuracy:
    """Shares in [0, 1] of rows whose nearest other row is of their own set: of all, of the reals, of the fakes."""

    both: float
    real: float
    fake: float


def neighbour_accuracy(real: Tensor, fake: Tensor) -> NeighbourAccuracy:
    """Leave-one-out accuracy of a nearest-neighbour classifier that tells reals (n, d) from fakes (n, d).

    Lopez-Paz and Oquab 2017; both sides apart as in Xu et al. 2018: 0.5 where the two cannot be told apart, 1 where
    they are separate. Against the *training* images, `real` far below 0.5 says that fakes sit on them: `copying` and
    `training_ratio` ask the same with held-out images beside them. Two neighbours as near as each other, one of each
    set, count half. Raises UserError for unequally many (chance would not be 0.5), fewer than 2, different d, NaN and
    infinite numbers.
    """
    real, fake = checked(real, fake, at_least=2)
    if len(real) != len(fake):
        raise UserError(f"a half is chance only for as many reals as fakes, got {len(real)} and {len(fake)}")
    across = _distances(real, fake)  # (n, n)

    def share(own: Tensor, other: Tensor) -> float:
        to_own = own.fill_diagonal_(torch.inf).amin(dim=1)
        return ((to_own < other).double() + (to_own == other).double() / 2).mean().item()

    of_real = share(_distances(real, real), across.amin(dim=1))
    of_fake = share(_distances(fake, fake), across.amin(dim=0))
    return NeighbourAccuracy((of_real + of_fake) / 2, of_real, of_fake)


def _inside(centres: Tensor, points: Tensor, k: int) -> Tensor:
    """Whether each of points (m, d) is strictly inside the ball of each of centres (n, d): (n, m)."""
    centres, points = checked(centres, points)
    n = len(centres)
    if not 1 <= k < n or len(points) == 0:
        raise UserError(f"balls of k={k} neighbours need k ≥ 1, more than k rows, and one to look for: got {n} rows")
    if 4 * k >= n:
        few = f"the ball of each of {n} rows holds {k} of the others: take a smaller k, and read it beside its floor"
        warn(few, above=2)
    radius = _distances(centres, centres).kthvalue(k + 1, dim=1).values  # the nearest is the row itself
    return _distances(centres, points) < radius[:, None]


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean (n, m); the shortcut by matrix products would give copies a distance above 0."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
