"""Distances between two sets of features (n, d): Fréchet and mean variance. Neighbours and copies: images will do."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import checked, warn


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """‖μ_x − μ_y‖² + Tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), ≥ 0, between features (n, d) and (m, d); Σ with 1/(n − 1).

    FID's formula (Heusel et al. 2017, Eq. 6), by torchmetrics in float64, on features as they are given: FID itself
    where they are those of fid_inception(). The estimate is biased upwards, the more so the fewer the rows: compare
    only at equal n and m, beside a floor. Warns (FewRows) where n or m does not exceed d, as the covariances are then
    singular. Raises UserError for fewer than 2 rows, different d, NaN and infinite numbers.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = checked(x, y, at_least=2)
    n, m, d = len(x), len(y), x.shape[1]
    if min(n, m) <= d:
        warn(
            f"the Fréchet distance of {n} and {m} rows in {d} dimensions is far above that of many rows: "
            "state it only beside its floor at the same n and m"
        )
    # torchmetrics sums raw second moments, which lose their digits far from the origin; the distance does not move
    # when both sets do, so they are brought there.
    centre = (x.mean(dim=0) + y.mean(dim=0)) / 2
    x, y = x - centre, y - centre
    if n + m < d:  # nor when both are turned: into the space that the rows span, which costs less
        basis = torch.linalg.qr(torch.cat([x, y]).T).Q  # (d, n + m)
        x, y = x @ basis, y @ basis
    metric = FrechetInceptionDistance(feature=features_as_given(x.shape[1]))
    metric.update(x, real=True)
    metric.update(y, real=False)
    return max(0.0, metric.compute().item())  # rounding alone takes it below 0


def features_as_given(dim: int) -> nn.Module:
    """What torchmetrics takes for a feature network where its images are features (n, dim) already."""
    network = nn.Identity()
    network.num_features = dim
    return network


def mean_variance(real: Tensor, fake: Tensor) -> float:
    """How varied fakes (m, d) are, by reals (n, d): 0 for one image repeated, 1 as varied as the reals, or above.

    The variance of each feature (1/(n − 1)), averaged over the features, of the fakes by that of the reals. **Our own
    definition**: the paper (Fig. 6) plots an "MV" that no paper and no released code defines. Unbiased variances, but
    garbage is varied too: read it beside a distance. Raises UserError for fewer than 2 rows, reals that are all
    alike, different d, NaN and infinite numbers.
    """
    real, fake = checked(real, fake, at_least=2)
    spread = real.var(dim=0).mean()
    if spread == 0:
        raise UserError("the real features are all alike: variance cannot be measured by theirs")
    return (fake.var(dim=0).mean() / spread).item()


def nearest(x: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """For each of x (n, …) the Euclidean distance (n,) to the nearest of references (m, …), and its index (n,).

    Raises UserError for none of either, different shapes, NaN and infinite numbers.
    """
    if min(x.ndim, references.ndim) < 2 or not (len(x) and len(references)) or x.shape[1:] != references.shape[1:]:
        raise UserError(
            f"neighbours need (n, …) and (m, …) of one shape, got {tuple(x.shape)} and {tuple(references.shape)}"
        )
    x, references = checked(x.flatten(1), references.flatten(1))
    return torch.cdist(x.float(), references.float()).min(dim=1)  # double would take twice as long


def copying(x: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The share, in [0, 1], of x (n, …) that are nearer to one of train (k, …) than to any of held_out (k, …).

    Around a half where x knows no more of the training images than of the others of their kind, 1 where it repeats
    them: the comparison of Meehan et al. 2020 (data-copying), counted per sample. An x that is as far from both
    counts half. It sees which side is nearer, not by how much: training_ratio says that, and neighbour_accuracy
    against the training images sees exact copies among few images. Raises UserError for unequally many train and
    held_out, and as `nearest` does.
    """
    if len(train) != len(held_out):
        raise UserError(f"copying compares as many training as held-out images, got {len(train)} and {len(held_out)}")
    to_train, to_held_out = nearest(x, train)[0], nearest(x, held_out)[0]
    return ((to_train < to_held_out).double() + (to_train == to_held_out).double() / 2).mean().item()


@dataclass(frozen=True)
class TrainingRatio:
    """ratio: how near fakes come to training images, by how near held-out images do (1: as near; 0: copies).
    share: of fakes that are nearer than 99 % of the held-out images (0.01 is chance)."""

    ratio: float
    share: float


def training_ratio(x: Tensor, train: Tensor, held_out: Tensor) -> TrainingRatio:
    """Nearest-training-image distances of x (n, …) by those of held_out (m, …), images that train (k, …) lacks.

    The ratio is that of the medians. Where `copying` asks which of two sets is nearer, this asks how near the one
    that was trained on is; it needs no equal numbers, and a set of blurred x can have a small ratio without being
    copies. The share rests on the nearest 1 % of held_out, with fewer than 100 on the nearest one alone (which it
    warns of: FewRows). Raises UserError as `nearest` does, and where most held-out images are copies themselves.
    """
    of_x, of_held_out = nearest(x, train)[0], nearest(held_out, train)[0]
    if of_held_out.median() == 0:
        raise UserError("most held-out images are copies of training images: hold out others")
    if len(held_out) < 100:
        warn(f"the nearest 1 % of {len(held_out)} held-out images is less than one of them: the share is uncertain")
    below = of_x < of_held_out.quantile(0.01, interpolation="lower")
    return TrainingRatio((of_x.median() / of_held_out.median()).item(), below.double().mean().item())


@dataclass(frozen=True)
class IntraCluster:
    """value: the mean distance, ≥ 0. clusters: how many it is the mean of, out of `of` training images.
    entropy: of the clusters' sizes, in nats, from 0 (one holds all fakes) to log(of) (all hold as many)."""

    value: float
    clusters: int
    of: int
    entropy: float


def intra_cluster_distance(fake: Tensor, train: Tensor) -> IntraCluster:
    """The mean distance of two of fake (n, d) that have the same nearest of train (k, d), over these clusters.

    Ojha et al. 2021 (intra-cluster LPIPS), by the Euclidean distance of the features given, over all pairs, where
    they draw at most 50 members of each cluster to save time. 0 where each cluster repeats one image, which copies of
    the training images do; high for garbage, too. Clusters with fewer than two members have no pairs: how many were
    left is stated, since a generator that never comes near most training images can score well on the rest. Raises
    UserError where none is left, for no rows, different d, NaN and infinite numbers.
    """
    fake, train = checked(fake, train, at_least=1)
    cluster = torch.cdist(fake, train).argmin(dim=1)
    sizes = cluster.bincount(minlength=len(train))
    means = [torch.pdist(fake[cluster == i]).mean() for i in (sizes > 1).nonzero().squeeze(1).tolist()]
    if not means:
        raise UserError(f"no two of {len(fake)} fakes have the same nearest training image: draw more fakes")
    return IntraCluster(
        torch.stack(means).mean().item(), len(means), len(train), torch.special.entr(sizes / len(fake)).sum().item()
    )
