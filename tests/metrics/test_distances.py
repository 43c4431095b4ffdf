"""The formulas against SciPy, closed forms, other ways of computing them, and cases small enough to count by hand."""

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minegan_lite.errors import UserError
from minegan_lite.metrics.distances import copying, frechet_distance, nearest
from minegan_lite.metrics.neighbours import coverage


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


def test_frechet_with_fewer_rows_than_dimensions_and_dead_features():
    spectrum = torch.logspace(0, -3, 128, dtype=torch.float64)
    x, y = (torch.relu(normal(30, 128, seed) + 0.2 * seed) * spectrum for seed in (1, 2))
    x[:, ::2] = y[:, ::2] = 0
    assert frechet_distance(x, y) == pytest.approx(by_nuclear_norm(x, y), rel=1e-6)


def test_frechet_does_not_lose_its_digits_far_from_the_origin():
    x, y = normal(100, 5, seed=1), 2 * normal(100, 5, seed=2)
    near = frechet_distance(x, y)
    assert frechet_distance(x + 1e7, y + 1e7) == pytest.approx(near, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 20), m=st.integers(2, 20), d=st.integers(1, 6), seed=st.integers(0, 1000))
def test_frechet_is_zero_on_itself_symmetric_and_not_negative(n, m, d, seed):
    x, y = normal(n, d, seed), 3 * normal(m, d, seed + 1) + 1
    assert 0 <= frechet_distance(x, x.flip(0)) <= 1e-6
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), rel=1e-6, abs=1e-6)
    assert frechet_distance(x, y) >= 0


def test_coverage_of_points_on_a_line_is_counted_by_hand():
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    # distance to the nearest other real: 1, 1, 2, 4; to the second: 3, 2, 3, 6
    assert coverage(real, torch.tensor([[0.5]]), k=1) == 0.5  # 0 and 1; 3 is 2.5 away
    assert coverage(real, torch.tensor([[-1.0]]), k=1) == 0  # exactly on the ball of 0: not inside
    assert coverage(real, torch.tensor([[-1.0]]), k=2) == 0.25  # 0 alone; 1 is exactly 2 away
    assert coverage(real, torch.tensor([[3.5], [20.0]]), k=1) == 0.5  # 3 and 7 (3.5 < 4)
    assert coverage(real, real, k=1) == 1


def test_coverage_of_copies_is_exact():
    pairs = normal(30, 64, seed=1).repeat_interleave(2, dim=0) + 100
    alone = normal(20, 64, seed=2) + 100
    # a ball of radius 0 around one of two equal reals holds nothing, not even its copy; that of a lone real does
    reals = torch.cat([pairs, alone])
    assert coverage(reals, reals, k=1) == pytest.approx(20 / 80)
    assert coverage(reals, reals, k=2) == 1
    near_twins = torch.cat([alone, alone + 1e-8])  # radius 8e-8: a copy is inside it only at a distance of exactly 0
    assert coverage(near_twins, near_twins, k=1) == 1


@pytest.mark.parametrize("k", [1, 5])
def test_coverage_equals_its_definition(k):
    real, fake = normal(40, 3, seed=1), normal(30, 3, seed=2) + 0.7

    def covered(i: int) -> bool:
        others = sorted(float((real[i] - real[j]).norm()) for j in range(len(real)) if j != i)
        return any(float((real[i] - y).norm()) < others[k - 1] for y in fake)

    expected = sum(covered(i) for i in range(len(real))) / len(real)
    assert 0 < expected < 1
    assert coverage(real, fake, k) == pytest.approx(expected)


GOOD = torch.zeros(10, 3)


@pytest.mark.parametrize("distance", [frechet_distance, coverage])
@pytest.mark.parametrize(
    "bad",
    [
        torch.zeros(10, 4),
        torch.zeros(30),
        torch.zeros(10, 3, 1),
        torch.zeros(0, 3),
        torch.full((10, 3), torch.nan),
        torch.tensor([[0.0, torch.inf, 0.0]] * 10),
    ],
)
def test_bad_features_are_one_clear_line(distance, bad):
    for pair in ((GOOD, bad), (bad, GOOD)):
        with pytest.raises(UserError) as error:
            distance(*pair)
        assert "\n" not in str(error.value)


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match="at least 2 rows"):
        frechet_distance(GOOD, GOOD[:1])
    with pytest.raises(UserError, match="at least 2 rows"):
        frechet_distance(GOOD[:1], GOOD)
    with pytest.raises(UserError, match="k=5"):
        coverage(GOOD[:5], GOOD)
    with pytest.raises(UserError, match="k=0"):
        coverage(GOOD, GOOD, k=0)


def test_nearest_against_scipy():
    x, references = normal(40, 6, 0), normal(25, 6, 1)
    table = scipy.spatial.distance.cdist(x, references)
    distance, index = nearest(x.view(40, 2, 3), references.view(25, 2, 3))  # any shape, as images have
    assert index.tolist() == table.argmin(1).tolist()
    assert distance.numpy() == pytest.approx(table.min(1), rel=1e-5)


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
