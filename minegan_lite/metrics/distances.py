"""The formulas: the Fréchet distance and coverage over features (n, d), copying over images or features."""

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError


def _checked(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise UserError(f"features must be (n, d) and (m, d) with one d, got {tuple(x.shape)} and {tuple(y.shape)}")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise UserError("the features hold NaN or infinite numbers: no distance can be stated")
    return x.detach().to("cpu", torch.float64), y.detach().to("cpu", torch.float64)


def frechet_distance(x: Tensor, y: Tensor) -> float:
    """‖μ_x − μ_y‖² + Tr(Σ_x + Σ_y − 2(Σ_xΣ_y)^½), ≥ 0, between features (n, d) and (m, d); Σ with 1/(n − 1).

    FID's formula (Heusel et al. 2017, Eq. 6), by torchmetrics in float64, on our features in place of Inception's. The
    estimate is biased upwards, the more so the fewer the rows: compare only at equal n and m, beside a floor.
    Raises UserError for fewer than 2 rows, different d, NaN and infinite numbers.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    x, y = _checked(x, y)
    if min(len(x), len(y)) < 2:
        raise UserError(f"the Fréchet distance needs at least 2 rows on each side, got {len(x)} and {len(y)}")
    features_as_given = nn.Identity()
    features_as_given.num_features = x.shape[1]
    metric = FrechetInceptionDistance(feature=features_as_given)
    # torchmetrics sums raw second moments, which lose their digits far from the origin; the distance does not move
    # when both sets do, so they are brought there.
    centre = (x.mean(dim=0) + y.mean(dim=0)) / 2
    metric.update(x - centre, real=True)
    metric.update(y - centre, real=False)
    return max(0.0, metric.compute().item())  # rounding alone takes it below 0


def coverage(real: Tensor, fake: Tensor, k: int = 5) -> float:
    """The share, in [0, 1], of reals (n, d) with a fake (m, d) strictly nearer than their k-th nearest other real.

    Naeem et al. 2020, Eq. 6, as in prdc. Depends on n, m and k, and stays below 1 for fakes of the same law.
    Raises UserError for k < 1, k or fewer reals, no fakes, different d, NaN and infinite numbers.
    """
    real, fake = _checked(real, fake)
    if not 1 <= k < len(real) or len(fake) == 0:
        raise UserError(
            f"coverage with k={k} needs k ≥ 1, more than k reals and at least one fake, got {len(real)} and {len(fake)}"
        )
    # The matrix-product shortcut would give copies a distance above 0.
    exact = "donot_use_mm_for_euclid_dist"
    radius = torch.cdist(real, real, compute_mode=exact).kthvalue(k + 1, dim=1).values  # the nearest is the real itself
    nearest_fake = torch.cdist(real, fake, compute_mode=exact).amin(dim=1)
    return (nearest_fake < radius).double().mean().item()


def nearest(x: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """For each of x (n, …) the Euclidean distance (n,) to the nearest of references (m, …), and its index (n,).

    Raises UserError for none of either, different shapes, NaN and infinite numbers.
    """
    if min(x.ndim, references.ndim) < 2 or not (len(x) and len(references)) or x.shape[1:] != references.shape[1:]:
        raise UserError(
            f"neighbours need (n, …) and (m, …) of one shape, got {tuple(x.shape)} and {tuple(references.shape)}"
        )
    x, references = _checked(x.flatten(1), references.flatten(1))
    return torch.cdist(x.float(), references.float()).min(dim=1)  # double would take twice as long


def copying(x: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The share, in [0, 1], of x (n, …) that are nearer to one of train (k, …) than to any of held_out (k, …).

    Around a half where x knows no more of the training images than of the others of their kind, 1 where it repeats
    them: the comparison of Meehan et al. 2020 (data-copying), counted per sample. An x that is as far from both
    counts half. Raises UserError for unequally many train and held_out, and as `nearest` does.
    """
    if len(train) != len(held_out):
        raise UserError(f"copying compares as many training as held-out images, got {len(train)} and {len(held_out)}")
    to_train, to_held_out = nearest(x, train)[0], nearest(x, held_out)[0]
    return ((to_train < to_held_out).double() + (to_train == to_held_out).double() / 2).mean().item()
