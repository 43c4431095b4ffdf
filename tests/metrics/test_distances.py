"""The formulas against SciPy, closed forms, other ways of computing them, and cases small enough to count by hand."""

import math
import statistics
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import FewRows
from minegan_lite.metrics.distances import (
    IntraCluster,
    TrainingRatio,
    copying,
    frechet_distance,
    intra_cluster_distance,
    mean_variance,
    nearest,
    nearest_other,
    training_ratio,
)


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_moments(n: int, mean: list[float], cov: list[list[float]], seed: int) -> torch.Tensor:
    """n rows whose sample mean and covariance (1/(n − 1)) are exactly the given ones."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(dim=0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(torch.cov(x.T)), x.T, upper=False)
    chol = torch.linalg.cholesky(torch.tensor(cov, dtype=torch.float64))
    return (chol @ white).T + torch.tensor(mean, dtype=torch.float64)


def by_scipy(x: torch.Tensor, y: torch.Tensor) -> float:
    x, y = x.double().numpy(), y.double().numpy()
    sx, sy = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(sx @ sy).real
    return ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(sx + sy - 2 * root)


def by_nuclear_norm(x: torch.Tensor, y: torch.Tensor) -> float:
    """With Σ_x = AᵀA and Σ_y = BᵀB, Tr (Σ_xΣ_y)^½ is the nuclear norm of ABᵀ: exact also for fewer rows than d."""
    a, b = ((z - z.mean(dim=0)) / (len(z) - 1) ** 0.5 for z in (x, y))
    shift = (x.mean(dim=0) - y.mean(dim=0)).square().sum()
    return (shift + a.square().sum() + b.square().sum() - 2 * torch.linalg.svdvals(a @ b.T).sum()).item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frechet_equals_scipy(dtype):
    mix = normal(12, 12, seed=3)
    x, y = normal(200, 12, seed=1).to(dtype), (normal(150, 12, seed=2) @ mix + 0.5).to(dtype)
    assert frechet_distance(x, y) == pytest.approx(by_scipy(x, y), rel=1e-8)


def test_frechet_of_diagonal_gaussians_is_the_closed_form():
    x = with_moments(50, [1, 0, -2], [[4, 0, 0], [0, 1, 0], [0, 0, 9]], seed=1)
    y = with_moments(70, [1, 3, -2], [[1, 0, 0], [0, 1, 0], [0, 0, 25]], seed=2)
    # ‖Δμ‖² + Σ (√a − √b)² = 9 + (2−1)² + 0 + (3−5)²
    assert frechet_distance(x, y) == pytest.approx(14, rel=1e-8)


def test_frechet_of_gaussians_that_do_not_commute_is_the_closed_form():
    a, b = [[2, 1], [1, 2]], [[3, 0], [0, 1]]
    # for 2×2: Tr (AB)^½ = (Tr AB + 2 √det AB)^½ = (8 + 2·3)^½, and Tr A + Tr B = 8
    x, y = with_moments(40, [0, 0], a, seed=1), with_moments(40, [1, -1], b, seed=2)
    assert frechet_distance(x, y) == pytest.approx(2 + 8 - 2 * 14**0.5, rel=1e-8)


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("n", [30, 100])  # together fewer than the dimensions, and more
def test_frechet_with_fewer_rows_than_dimensions_and_dead_features(n):
    spectrum = torch.logspace(0, -3, 128, dtype=torch.float64)
    x, y = (torch.relu(normal(n, 128, seed) + 0.2 * seed) * spectrum for seed in (1, 2))
    x[:, ::2] = y[:, ::2] = 0
    assert frechet_distance(x, y) == pytest.approx(by_nuclear_norm(x, y), rel=1e-6)


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frechet_of_ordinary_features_is_torchmetrics(dtype):
    """Rectified features of falling spread, as networks have them; torchmetrics takes features by an identity."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    spectrum = torch.logspace(0, -2, 32, dtype=torch.float64)
    for n, m in ((400, 300), (60, 40)):
        x, y = (torch.relu(normal(k, 32, seed) + 0.1 * seed) * spectrum for k, seed in ((n, 1), (m, 2)))
        network = torch.nn.Identity()
        network.num_features = 32
        metric = FrechetInceptionDistance(feature=network)
        metric.set_dtype(torch.float64)
        metric.update(x.to(dtype).double(), real=True)
        metric.update(y.to(dtype).double(), real=False)
        assert frechet_distance(x.to(dtype), y.to(dtype)) == pytest.approx(metric.compute().item(), rel=1e-6)


def rotation(d: int, seed: int) -> torch.Tensor:
    return torch.linalg.qr(normal(d, d, seed)).Q


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("ratio", [1e4, 1e7, 1e-7, 1e12])
@pytest.mark.parametrize("n", [60, 6])  # more rows than dimensions, and fewer
def test_frechet_of_unequal_scales_is_the_closed_form(ratio, n):
    unit, d = [[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], 3
    scales = torch.tensor([1, ratio**0.5, ratio], dtype=torch.float64)
    x, y = (with_moments(n, [0] * d, unit, seed) for seed in (1, 2))
    wide = torch.zeros(d, 40, dtype=torch.float64)
    wide[:, :d] = rotation(d, 3)
    turned = wide if n == 6 else wide[:, :d]
    # of Gaussians with Σ = S² and T², both diagonal, and means μ and ν: ‖μ − ν‖² + Σ (S − T)²
    expected = (1 + (scales - 3 * scales.flip(0)).square().sum()).item()
    shift = torch.tensor([1.0, 0, 0], dtype=torch.float64)
    found = frechet_distance((x * scales + shift) @ turned, y * (3 * scales.flip(0)) @ turned)
    assert found == pytest.approx(expected, rel=1e-9)
    # one set of a scale of its own
    assert frechet_distance(x @ turned, ratio * y @ turned) == pytest.approx(d * (1 - ratio) ** 2, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    exponent=st.integers(-150, 150), n=st.integers(2, 12), m=st.integers(2, 12), d=st.integers(1, 8),
    seed=st.integers(0, 1000),
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
def test_frechet_grows_with_the_square_of_the_unit(exponent, n, m, d, seed):
    c, x, y = 10.0**exponent, normal(n, d, seed), 2 * normal(m, d, seed + 1) + 1
    assert frechet_distance(c * x, c * y) == pytest.approx(c * c * frechet_distance(x, y), rel=1e-9)


def test_frechet_does_not_lose_its_digits_far_from_the_origin():
    x, y = normal(100, 5, seed=1), 2 * normal(100, 5, seed=2)
    near = frechet_distance(x, y)
    assert frechet_distance(x + 1e7, y + 1e7) == pytest.approx(near, rel=1e-6)


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 20), m=st.integers(2, 20), d=st.integers(1, 6), seed=st.integers(0, 1000))
def test_frechet_is_zero_on_itself_symmetric_and_not_negative(n, m, d, seed):
    x, y = normal(n, d, seed), 3 * normal(m, d, seed + 1) + 1
    assert 0 <= frechet_distance(x, x.flip(0)) <= 1e-6
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6, abs=1e-6)
    assert frechet_distance(x, y) >= 0


def test_fewer_rows_than_dimensions_are_warned_of():
    x, y = normal(20, 10, seed=1), normal(10, 10, seed=2)
    with pytest.warns(FewRows, match="20 and 10 rows in 10 dimensions") as told:
        frechet_distance(x, y)
    assert told[0].filename == __file__  # the caller's line, not the library's
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frechet_distance(x, normal(11, 10, seed=2))


# Isotropic Gaussians, n rows against 5000 of the same law: what this project's survey of metrics found.
@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize(
    ("d", "n", "floor"),
    [(64, 10, 87.8), (64, 25, 55.8), (64, 100, 12.8), (64, 1000, 1.33), (64, 5000, 0.44), (256, 25, 367)],
)
def test_the_floor_of_small_samples(d, n, floor):
    values = [frechet_distance(normal(n, d, 2 * seed), normal(5000, d, 2 * seed + 1)) for seed in range(3)]
    spread = max(0.1 * floor, 3 * statistics.stdev(values))
    assert statistics.fmean(values) == pytest.approx(floor, abs=spread)
    assert spread < floor / 2


def test_mean_variance_of_known_spreads():
    real = with_moments(50, [0, 5], [[4, 1], [1, 2]], seed=1)
    fake = with_moments(30, [9, 9], [[1, 0], [0, 0.5]], seed=2)
    assert mean_variance(real, fake) == pytest.approx(1.5 / 6)
    assert mean_variance(real, real + 7) == pytest.approx(1)
    assert mean_variance(real, real[:1].expand(9, -1)) == 0
    ratios = [mean_variance(normal(40, 5, 2 * seed), 3 * normal(5, 5, 2 * seed + 1)) for seed in range(100)]
    assert statistics.fmean(ratios) == pytest.approx(9, rel=0.1)  # no bias at 5 rows but that of the ratio
    for constant in (0, 0.1, 1e7):
        alike = torch.full((7, 2), constant, dtype=torch.float64)
        assert mean_variance(normal(5, 2, 1), alike) == 0
        with pytest.raises(UserError, match="all alike"):
            mean_variance(alike, normal(5, 2, 1))


def test_nearest_against_scipy():
    x, references = normal(40, 6, 0), normal(25, 6, 1)
    table = scipy.spatial.distance.cdist(x, references)
    distance, index = nearest(x.view(40, 2, 3), references.view(25, 2, 3))  # any shape, as images have
    assert index.tolist() == table.argmin(1).tolist()
    assert distance.numpy() == pytest.approx(table.min(1), rel=1e-5)


def test_copies_are_at_a_distance_of_exactly_zero():
    """Matrix products alone would not say so."""
    images = normal(60, 784, 0).float().view(60, 1, 28, 28)
    distance, index = nearest(images.flip(0), images)
    assert distance.tolist() == [0] * 60
    assert index.tolist() == list(range(59, -1, -1))
    with pytest.raises(UserError, match="copies of training images"):
        training_ratio(images, images, images)
    assert copying(images, images[:30], images[30:]) == 0.5
    assert copying(images[:7], images[:30], images[:30].flip(0)) == 0.5  # ties, counted half


def test_an_image_itself_is_not_its_nearest_other():
    x = torch.tensor([[0.0], [1.0], [3.0], [3.0], [7.0]])
    assert nearest_other(x, torch.tensor([0, 2, 3])).tolist() == [3, 1, 0, 0, 4]
    assert nearest_other(x, torch.tensor([4])).tolist() == [7, 6, 4, 4, math.inf]


def test_copying_counted_by_hand():
    # on a line: training images at 0 and 10, held-out ones at 4 and 20
    train, held_out = torch.tensor([[0.0], [10.0]]), torch.tensor([[4.0], [20.0]])
    x = torch.tensor([[1.0], [9.0], [3.0], [19.0], [2.0]])  # train, train, held out, held out, a tie of 0 and 4
    assert copying(x, train, held_out) == pytest.approx((1 + 1 + 0 + 0 + 0.5) / 5)


@given(st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_copying_turns_over_with_the_sides_and_knows_copies_from_new_draws(seed):
    train, held_out, new = (normal(50, 5, 3 * seed + i) for i in range(3))
    share = copying(new, train, held_out)
    assert share == pytest.approx(1 - copying(new, held_out, train))
    assert 0.15 < share < 0.85  # one law; 50 draws
    assert copying(train + 1e-3 * new, train, held_out) == 1.0


def test_copying_needs_sides_of_one_size():
    with pytest.raises(UserError, match="3 and 4"):
        copying(normal(5, 2, 0), normal(3, 2, 1), normal(4, 2, 2))
    with pytest.raises(UserError, match="neighbours need"):
        copying(normal(5, 2, 0), normal(0, 2, 1), normal(0, 2, 2))
    with pytest.raises(UserError, match="neighbours need"):
        nearest(normal(5, 2, 0), normal(5, 3, 0))
    with pytest.raises(UserError, match="NaN"):
        nearest(normal(5, 2, 0) * torch.nan, normal(5, 2, 0))


def test_training_ratio_counted_by_hand():
    train = torch.tensor([[0.0], [10.0]])
    held_out = torch.cat([torch.tensor([[2.0], [12.0]]), torch.full((99, 1), 14.0)])  # 2 and 2 away, then 4
    x = torch.tensor([[0.0], [1.0], [9.0], [12.0], [16.0]])  # 0, 1, 1, 2 and 6 away
    # medians 1 and 4; of 101 held-out distances the second smallest, 2, is the 1 % quantile: 0, 1 and 1 are below
    assert training_ratio(x, train, held_out) == TrainingRatio(ratio=0.25, share=0.6)
    with pytest.warns(FewRows, match="1 % of 2 held-out"):
        assert training_ratio(x, train, held_out[:2]) == TrainingRatio(ratio=0.5, share=0.6)
    with pytest.raises(UserError, match="copies of training images"):
        training_ratio(x, train, train)


def test_training_ratio_knows_copies_from_new_draws():
    train, held_out, new = (normal(300, 4, seed) for seed in range(3))
    honest, parrot = training_ratio(new, train, held_out), training_ratio(train + 1e-4 * new, train, held_out)
    assert honest.ratio == pytest.approx(1, abs=0.15)
    assert honest.share < 0.05
    assert parrot.ratio < 0.01
    assert parrot.share == 1


def test_intra_cluster_distance_counted_by_hand():
    train = torch.tensor([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0], [90.0, 0.0]])
    fake = torch.tensor([[0.0, 1.0], [0.0, 4.0], [0.0, 0.0], [9.0, 0.0], [10.0, 0.0], [21.0, 0.0]])
    # pairs 3, 1, 4 in the first cluster, 1 in the second, none in the third (one member) and fourth (no member)
    found = intra_cluster_distance(fake, train)
    assert found.value == pytest.approx((8 / 3 + 1) / 2)
    assert (found.clusters, found.of) == (2, 4)
    sizes = [3 / 6, 2 / 6, 1 / 6]
    assert found.entropy == pytest.approx(-sum(p * math.log(p) for p in sizes))
    assert intra_cluster_distance(train.repeat(2, 1), train) == IntraCluster(0, 4, 4, pytest.approx(math.log(4)))
    assert intra_cluster_distance(fake[:3], train).entropy == 0
    with pytest.raises(UserError, match="draw more fakes"):
        intra_cluster_distance(train, train)
