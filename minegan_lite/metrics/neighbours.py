"""Who is near whom: precision, recall, density and coverage by balls of k neighbours, and the 1-NN two-sample test."""

from dataclasses import dataclass

from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import all_alike, checked, finite, magnitude, warn
from minegan_lite.metrics.pairwise import neighbours, within


def precision(real: Tensor, fake: Tensor, k: int = 3) -> float:
    """The share, in [0, 1], of fakes (m, d) that lie in the ball of at least one real (n, d).

    The ball of a real reaches to the k-th nearest of the other reals, which lies on its rim and so not in it
    (Kynkäänniemi et al. 2019, Eq. 2, with the strict < of prdc, Naeem et al. 2020, which matters for copies alone).
    Like recall, density and coverage the share depends on n, m and k; fakes of the same law do not reach 1, and a
    collapsed generator can. Warns (FewRows) where a ball holds a quarter of its set.
    Raises UserError for k < 1, for no more than k rows on the side of the balls, none on the other, reals that are
    all alike (their balls have no size), different d, NaN and infinite numbers.
    """
    return finite(_inside(real, fake, k).any(dim=0).double().mean())


def recall(real: Tensor, fake: Tensor, k: int = 3) -> float:
    """The share, in [0, 1], of reals (n, d) in the ball of a fake (m, d): precision with the sides exchanged.

    Kynkäänniemi et al. 2019, Eq. 2. It is 0 for fakes that are all alike. Garbage has large balls and may hold the
    reals: read it beside precision. Raises UserError as `precision` does.
    """
    return finite(_inside(real, fake, k, balls_of_fakes=True).any(dim=0).double().mean())


def density(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """The number of reals (n, d) in whose ball a fake (m, d) lies, on average, divided by k: ≥ 0, and about 1 for
    fakes of the same law.

    Naeem et al. 2020, Eq. 5. It is precision that counts balls, so that the large ball of a single outlier says less.
    Raises UserError as `precision` does.
    """
    return finite(_inside(real, fake, k).sum(dim=0).double().mean() / k)


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """The share, in [0, 1], of reals (n, d) whose ball holds at least one fake (m, d).

    Naeem et al. 2020, Eq. 6, as in prdc; the balls are those of `precision`, and so are the errors raised.
    """
    return finite(_inside(real, fake, k).any(dim=1).double().mean())


@dataclass(frozen=True)
class NeighbourAccuracy:
    """Shares in [0, 1] of rows whose nearest other row is of their own set: of all, of the reals, of the fakes."""

    both: float
    real: float
    fake: float


def neighbour_accuracy(real: Tensor, fake: Tensor) -> NeighbourAccuracy:
    """How often the nearest other row says whether a row is a real (n, d) or a fake (n, d): leave-one-out accuracy.

    Lopez-Paz and Oquab 2017; both sides apart as in Xu et al. 2018. It is 0.5 where reals and fakes cannot be told
    apart, and 1 where they are separate. Against the *training* images, `real` far below 0.5 says that fakes sit on
    them: `copying` and `training_ratio` ask the same with held-out images beside them. Where a row of either set is
    equally near, it counts half. Raises UserError for unequally many (chance would not be 0.5), fewer than 2,
    different d, NaN and infinite numbers.
    """
    real, fake = checked(real, fake, at_least=2)
    if len(real) != len(fake):
        raise UserError(f"a half is chance only for as many reals as fakes, got {len(real)} and {len(fake)}")
    scale = magnitude(real, fake)
    real, fake = real / scale, fake / scale

    def share(own: Tensor, other: Tensor) -> float:
        to_own = neighbours(own, own, 2)[0][:, 1]  # the nearest is the row itself
        to_other = neighbours(own, other)[0][:, 0]
        return finite(((to_own < to_other).double() + (to_own == to_other).double() / 2).mean())

    of_real, of_fake = share(real, fake), share(fake, real)
    return NeighbourAccuracy((of_real + of_fake) / 2, of_real, of_fake)


def _inside(real: Tensor, fake: Tensor, k: int, *, balls_of_fakes: bool = False) -> Tensor:
    """Whether each point lies strictly inside the ball of each centre: (centres, points).

    The centres are the reals and the points the fakes, or with balls_of_fakes the other way round.
    """
    real, fake = checked(real, fake)
    centres, points = (fake, real) if balls_of_fakes else (real, fake)
    n = len(centres)
    if not 1 <= k < n or len(points) == 0:
        raise UserError(f"balls of k={k} neighbours need k ≥ 1, more than k rows, and one to look for: got {n} rows")
    if 4 * k >= n:
        few = f"the ball of each of {n} rows holds {k} of the others: take a smaller k, and read it beside its floor"
        warn(few, above=2)
    scale = magnitude(real, fake)
    centres, points = centres / scale, points / scale
    radius = neighbours(centres, centres, k + 1)[0][:, k]  # the nearest is the row itself
    if all_alike(real) or not (balls_of_fakes or radius.any()):
        raise UserError(
            f"the real features are all alike, or each is there more than {k} times: balls around them have no size, "
            "so that nothing can lie in one. Is the feature network constant?"
        )
    return within(centres, points, radius)
