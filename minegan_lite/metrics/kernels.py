"""Maximum mean discrepancy: KID's cubic kernel, the Gaussian one of KMMD, and a test whether two laws are one."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import all_alike, checked, finite, magnitude


def kid(real: Tensor, fake: Tensor, subsets: int = 100, subset_size: int = 1000, seed: int = 0) -> float:
    """The squared MMD of features (n, d) and (m, d) under the kernel (aᵀb/d + 1)³, without bias: below 0 at times.

    Bińkowski et al. 2018, by torchmetrics in float64. It is KID itself for the features of fid_inception(). The
    number is the mean over `subsets` draws of `subset_size` rows of each side, or of as many as the smaller side has,
    without replacement, by `seed`; where that is all rows of both, one draw is made. Unbiased, but with a few dozen
    rows its spread exceeds most differences: state it with an interval. Raises UserError for fewer than 2 rows,
    different d, NaN and infinite numbers, subsets or a subset_size that are too small, and features whose sixth power
    is no float.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = checked(real, fake, at_least=2)
    if subsets < 1 or subset_size < 2:
        raise UserError(f"KID needs at least 1 subset of at least 2 rows, got {subsets} of {subset_size}")
    size = min(subset_size, len(real), len(fake))
    features_as_given: Any = nn.Identity()  # in the place of a network
    features_as_given.num_features = real.shape[1]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance` will save all")
        metric = KernelInceptionDistance(
            feature=features_as_given, subsets=1 if size == len(real) == len(fake) else subsets, subset_size=size
        )
    metric.update(real, real=True)
    metric.update(fake, real=False)
    with torch.random.fork_rng(devices=[]):  # torchmetrics draws from the global generator
        torch.default_generator.manual_seed(seed)
        return finite(metric.compute()[0])


def kmmd(real: Tensor, fake: Tensor, sigma: float = 1.0) -> float:
    """The MMD of features (n, d) and (m, d) under a Gaussian kernel, ≥ 0, in the convention of GAN-Metrics.

    k(a, b) = exp(−‖a − b‖² / 2σ²s), where s is the mean of ‖a − b‖² over all pairs of reals;
    KMMD = √(mean k_rr + mean k_ff − 2 mean k_rf). In s and in these means each row is paired with itself, too (Xu et
    al. 2018 and their code). The paper reports KMMD in Fig. 6, but states neither kernel width nor features: our
    numbers cannot be compared with its own. KMMD is biased upwards: equal laws have about 0.9/√n at n against n. Laws
    of one spread that lie far apart have about √(2e^−½) ≈ 1.10. It is not symmetric, as s comes from the reals.
    Raises UserError for fewer than 2 rows, reals that are all alike, σ ≤ 0, different d, NaN and infinite numbers.
    """
    rr, ff, rf = _kernels(*checked(real, fake, at_least=2), sigma)
    return (rr.mean() + ff.mean() - 2 * rf.mean()).clamp(min=0).sqrt().item()


def kmmd_squared(real: Tensor, fake: Tensor, sigma: float = 1.0) -> float:
    """The square of KMMD without its bias: around 0 between equal laws, and often below.

    The U-statistic of Gretton et al. 2012, Eq. 3: kernel and scale as in `kmmd`, pairs of different rows alone.
    Raises UserError as `kmmd` does.
    """
    rr, ff, rf = _kernels(*checked(real, fake, at_least=2), sigma)

    def of_pairs(k: Tensor) -> Tensor:
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    return finite(of_pairs(rr) + of_pairs(ff) - 2 * rf.mean())


def permutation_p_value(
    real: Tensor, fake: Tensor, sigma: float = 1.0, permutations: int = 500, *, rng: torch.Generator
) -> float:
    """How often features (n, d) and (m, d) would lie so far apart if their laws were one: p in (0, 1].

    All rows are divided at random into n and m. p is the share of divisions whose unbiased squared MMD is at least
    that of the given one, which is counted too (Gretton et al. 2012, Sec. 5). The kernel is `kmmd`'s, but its scale
    is the mean over all rows: a scale from the reals alone would change with each division. p is exact for any n, m
    and law, and never below 1/(1 + permutations). Raises UserError as `kmmd` does, and for no permutations.
    """
    real, fake = checked(real, fake, at_least=2)
    if permutations < 1:
        raise UserError(f"a permutation test needs at least 1 permutation, got {permutations}")
    n, m, rows = len(real), len(fake), torch.cat([real, fake])
    rows = rows / magnitude(rows)
    _varied(rows)
    squared = _squared_distances(rows, rows).fill_diagonal_(0)
    kernel = _gaussian(squared, sigma, squared.mean()).fill_diagonal_(0)  # pairs of different rows alone
    first = torch.zeros(1 + permutations, n + m, dtype=torch.float64)  # which rows play the reals
    first[0, :n] = 1
    for division in first[1:]:
        division[torch.randperm(n + m, generator=rng)[:n]] = 1
    to_first = first @ kernel  # (1 + permutations, n + m): of each row, the sum over those that play the reals
    rr = (to_first * first).sum(dim=1)
    rf = to_first.sum(dim=1) - rr
    ff = kernel.sum() - rr - 2 * rf
    apart = rr / (n * (n - 1)) + ff / (m * (m - 1)) - 2 * rf / (n * m)
    finite(apart.sum())
    return finite((apart >= apart[0] - 1e-12).double().mean())  # 1e-12: a sum's order, where divisions are equal


def _kernels(real: Tensor, fake: Tensor, sigma: float) -> tuple[Tensor, Tensor, Tensor]:
    """k between reals (n, n), between fakes (m, m) and across (n, m), its scale from the reals."""
    _varied(real)
    unit = magnitude(real)
    real, fake = real / unit, fake / unit
    of_reals = _squared_distances(real, real).fill_diagonal_(0)
    scale = of_reals.mean()
    of_fakes, across = _squared_distances(fake, fake).fill_diagonal_(0), _squared_distances(real, fake)
    rr, ff, rf = (_gaussian(squared, sigma, scale) for squared in (of_reals, of_fakes, across))
    for kernel in (rr, ff, rf):
        finite(kernel.sum())
    return rr, ff, rf


def _varied(rows: Tensor) -> None:
    if all_alike(rows):
        raise UserError("the features are all alike: they give the kernel no width")


def _gaussian(squared: Tensor, sigma: float, scale: Tensor) -> Tensor:
    """exp(−squared / 2σ²·scale), in the place of squared, which may be large."""
    if not sigma > 0:
        raise UserError(f"the width σ of the kernel must be positive, got {sigma}")
    return squared.div_(-2 * sigma**2 * scale).exp_()


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    centre = x.mean(dim=0)  # far from the origin, matrix products would lose the digits
    return torch.cdist(x - centre, y - centre, compute_mode="use_mm_for_euclid_dist").square_()
