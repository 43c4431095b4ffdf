"""Distances between two sets of features (n, d): Fréchet and mean variance. Neighbours and copies: images will do."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import all_alike, checked, finite, float_tensors, magnitude, warn
from minegan_lite.metrics.pairwise import mean_distance, neighbours


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """‖μ_x − μ_y‖² + Tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), ≥ 0, of fakes x (m, d) from reals y (n, d); Σ with 1/(n − 1).

    FID's formula (Heusel et al. 2017, Eq. 6) in float64. It is FID itself for the features of fid_inception().
    The trace of the root is computed as the sum of the singular values of AB^T, where A^T A = Σ_x and B^T B = Σ_y. So
    it is exact for singular covariances too, and for features of any scale, up to about 1e−12 of the variance.
    The estimate is biased upwards, and more so with fewer rows: compare only at equal n and m, beside a floor. Warns
    (FewRows) where n or m does not exceed d. Raises UserError for fewer than 2 rows, different d, NaN and infinite
    numbers, and features whose squares are no floats.
    """
    y, x = checked(real, fake, at_least=2)
    n, m, d = len(y), len(x), x.shape[1]
    if min(n, m) <= d:
        warn(
            f"the Fréchet distance of {n} and {m} rows in {d} dimensions is far above that of many rows: "
            "state it only beside its floor at the same n and m"
        )
    scale = magnitude(x, y)
    if scale * scale < torch.finfo(torch.float64).tiny:
        raise UserError("the features are too small to be squared: multiply all of them by one constant")
    x, y = x / scale, y / scale
    shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    a, b = _root_of_covariance(x), _root_of_covariance(y)
    trace_of_root = torch.linalg.svdvals(a @ b.T).sum()
    squared = shift + a.square().sum() + b.square().sum() - 2 * trace_of_root
    return finite(squared.clamp(min=0) * scale * scale)  # rounding alone takes it below 0


def _root_of_covariance(x: Tensor) -> Tensor:
    """A of at most d rows with A^T A = Σ_x."""
    centred = (x - x.mean(dim=0)) / (len(x) - 1) ** 0.5
    return torch.linalg.qr(centred, mode="r").R if len(x) > x.shape[1] else centred


def mean_variance(real: Tensor, fake: Tensor) -> float:
    """The variance of fakes (m, d) divided by that of reals (n, d): 0 for one image repeated, 1 for equal variety.

    Each feature's variance is that with 1/(n − 1); both sides are averaged over the features before they are divided.
    **Our own definition**: the paper (Fig. 6) plots an "MV" that no paper and no released code defines. The variances
    have no bias. Garbage can have a large variance too: read this number beside a distance. Raises UserError for
    fewer than 2 rows, reals that are all alike, different d, NaN and infinite numbers.
    """
    real, fake = checked(real, fake, at_least=2)
    if all_alike(real):
        raise UserError("the real features are all alike: their variance is 0, and nothing can be divided by it")
    units = magnitude(fake) / magnitude(real)
    of_real, of_fake = ((side / magnitude(side)).var(dim=0).mean() for side in (real, fake))
    return finite(of_fake / of_real * units * units)


def nearest(x: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """For each of x (n, …) the Euclidean distance to the nearest of references (m, …), and the index of that one.

    Both are (n,), the distances in float64 and exactly 0 for copies; of references that are equally near the first is
    taken. Raises UserError for none of either, different shapes, NaN and infinite numbers.
    """
    float_tensors(x, references)
    if min(x.ndim, references.ndim) < 2 or not (len(x) and len(references)) or x.shape[1:] != references.shape[1:]:
        raise UserError(
            f"neighbours need (n, …) and (m, …) of one shape, got {tuple(x.shape)} and {tuple(references.shape)}"
        )
    distances, indices = _nearest(x, references, 1)
    return distances[:, 0], indices[:, 0]


def nearest_other(x: Tensor, picked: Tensor) -> Tensor:
    """For each of x (n, …) the distance (n,) to the nearest of x[picked], an image itself not counted.

    picked: indices. The distance of the only one picked is infinite. Raises UserError as `nearest` does.
    """
    distances, _ = _nearest(x, x[picked], min(2, len(picked)))
    distances = torch.cat([distances, torch.full((len(x), 1), torch.inf)], dim=1)
    itself = torch.zeros(len(x), 1, dtype=torch.long)
    itself[picked] = 1  # at distance 0, which no other is below
    return distances.gather(1, itself).squeeze(1)


def _nearest(x: Tensor, references: Tensor, k: int) -> tuple[Tensor, Tensor]:
    x, references = checked(x.flatten(1), references.flatten(1))
    scale = magnitude(x, references)
    distances, indices = neighbours(x / scale, references / scale, k)
    finite(distances.max() * scale)
    return distances * scale, indices


def copying(x: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The share, in [0, 1], of x (n, …) that are nearer to one of train (k, …) than to any of held_out (k, …).

    About a half where x knows no more of the training images than of other images of their kind, 1 where it repeats
    them: the comparison of Meehan et al. 2020 (data-copying), counted per sample. A sample that is equally far from
    both counts half. The share says which side is nearer, but not by how much: training_ratio says that. Exact copies
    among few images are seen by neighbour_accuracy, against the training images. Raises UserError for unequally many
    train and held_out, and as `nearest` does.
    """
    if len(train) != len(held_out):
        raise UserError(f"copying compares as many training as held-out images, got {len(train)} and {len(held_out)}")
    to_train, to_held_out = nearest(x, train)[0], nearest(x, held_out)[0]
    return ((to_train < to_held_out).double() + (to_train == to_held_out).double() / 2).mean().item()


@dataclass(frozen=True)
class TrainingRatio:
    """How near fakes come to training images, compared with held-out images.

    ratio: the median distance of fakes, divided by that of held-out images: 1 where both are as near, 0 for copies.
    share: of fakes that are nearer than 99 % of the held-out images (0.01 is chance).
    """

    ratio: float
    share: float


def training_ratio(x: Tensor, train: Tensor, held_out: Tensor) -> TrainingRatio:
    """Whether x (n, …) are nearer to train (k, …) than held_out (m, …) are, images that train does not hold.

    Each distance is that to the nearest training image. `copying` asks which of two sets is nearer; this asks how
    near the training images are. It needs no equal numbers. Blurred x can have a small ratio without being copies.
    The share rests on the nearest 1 % of held_out, and with fewer than 100 on the nearest one alone, which it warns
    of (FewRows). Raises UserError as `nearest` does, and where most held-out images are copies themselves.
    """
    of_x, of_held_out = nearest(x, train)[0], nearest(held_out, train)[0]
    if of_held_out.median() == 0:
        raise UserError("most held-out images are copies of training images: hold out others")
    if len(held_out) < 100:
        warn(f"the nearest 1 % of {len(held_out)} held-out images is less than one of them: the share is uncertain")
    below = of_x < of_held_out.quantile(0.01, interpolation="lower")
    return TrainingRatio(finite(of_x.median() / of_held_out.median()), finite(below.double().mean()))


@dataclass(frozen=True)
class IntraCluster:
    """value: the mean distance, ≥ 0. clusters: how many it is the mean of, out of `of` training images.
    entropy: of the clusters' sizes, in nats, from 0 (one holds all fakes) to log(of) (all hold as many)."""

    value: float
    clusters: int
    of: int
    entropy: float


def intra_cluster_distance(fake: Tensor, train: Tensor) -> IntraCluster:
    """How much fakes (n, d) differ that have the same nearest training image: each of train (k, d) has a cluster.

    The mean distance of two fakes of a cluster, averaged over the clusters: intra-cluster LPIPS (Ojha et al. 2021),
    but with the Euclidean distance of the features given, and over all pairs, where they draw at most 50 members of
    each cluster to save time. It is 0 where each cluster repeats one image, as copies of the training images do;
    garbage makes it high, too. A cluster with fewer than two members has no pairs and is left out. How many clusters
    are left is stated, since a generator that never comes near most training images can score well on the rest.
    Raises UserError where none is left, for no rows, different d, NaN and infinite numbers.
    """
    fake, train = checked(fake, train, at_least=1)
    scale = magnitude(fake, train)
    fake, train = fake / scale, train / scale
    cluster = neighbours(fake, train)[1].squeeze(1)
    sizes = cluster.bincount(minlength=len(train))
    means = [mean_distance(fake[cluster == i]) for i in (sizes > 1).nonzero().squeeze(1).tolist()]
    if not means:
        raise UserError(f"no two of {len(fake)} fakes have the same nearest training image: draw more fakes")
    entropy = torch.special.entr(sizes / len(fake)).sum()
    return IntraCluster(finite(torch.stack(means).mean() * scale), len(means), len(train), finite(entropy))
