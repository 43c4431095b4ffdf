"""KID and KMMD against sums written out in NumPy, unbiasedness against closed forms, p against all divisions."""

import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minegan_lite.errors import UserError
from minegan_lite.metrics.kernels import kid, kmmd, kmmd_squared, permutation_p_value


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair_means(x, y, k) -> tuple[float, float]:
    """mean k over all pairs, and over pairs of different places, by loops in float64."""
    x, y = x.double().numpy(), y.double().numpy()
    table = np.array([[k(a, b) for b in y] for a in x])
    n = len(x)
    off = (table.sum() - np.trace(table)) / (n * (n - 1)) if len(x) == len(y) else math.nan
    return table.mean(), off


def unbiased(x, y, k) -> float:
    return pair_means(x, x, k)[1] + pair_means(y, y, k)[1] - 2 * pair_means(x, y, k)[0]


def gauss(real, sigma=1.0):
    """exp(−D/(2σ²s)), s the mean of D over all pairs of reals, each with itself included."""
    rows = real.double().numpy()
    s = np.mean([[((a - b) ** 2).sum() for b in rows] for a in rows])
    return lambda a, b: math.exp(-((a - b) ** 2).sum() / (2 * sigma**2 * s))


def cubic(a, b):
    return (a @ b / len(a) + 1) ** 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_kid_equals_the_u_statistic(dtype):
    x, y = normal(14, 4, seed=1).to(dtype), (2 * normal(14, 4, seed=2) + 0.5).to(dtype)
    assert kid(x, y) == pytest.approx(unbiased(x, y, cubic), rel=1e-9)
    assert kid(x, y) == pytest.approx(kid(y, x), rel=1e-9)


def test_kid_of_gaussians_is_the_closed_form_on_average():
    # (ab + 1)³ in one dimension: 3 (Δm₁)² + 3 (Δm₂)² + (Δm₃)², with the moments of N(0, 1) and N(½, 4)
    truth = 3 * 0.5**2 + 3 * (0.25 + 4 - 1) ** 2 + (0.125 + 3 * 0.5 * 4) ** 2
    values = [kid(normal(30, 1, 2 * seed), 2 * normal(30, 1, 2 * seed + 1) + 0.5) for seed in range(200)]
    error = statistics.stdev(values) / len(values) ** 0.5
    assert abs(statistics.fmean(values) - truth) < 4 * error < truth
    null = [kid(normal(10, 3, 2 * seed), normal(10, 3, 2 * seed + 1)) for seed in range(200)]
    assert min(null) < 0 < max(null)
    assert abs(statistics.fmean(null)) < 4 * statistics.stdev(null) / len(null) ** 0.5


def test_kid_of_unequal_sides_is_a_mean_over_drawn_subsets():
    x, y = normal(9, 2, seed=1), normal(24, 2, seed=2) + 0.5
    state = torch.get_rng_state()
    first = kid(x, y, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert kid(x, y, seed=1) == first != kid(x, y, seed=2)
    singles = [kid(x, y, subsets=1, seed=seed) for seed in range(100)]
    # each drawn subset of y is itself unbiased for the statistic of all pairs
    of_all = pair_means(x, x, cubic)[1] + pair_means(y, y, cubic)[1] - 2 * pair_means(x, y, cubic)[0]
    assert abs(first - of_all) < 4 * statistics.stdev(singles) / 100**0.5
    assert statistics.stdev(singles) > 0.01
    assert kid(x, y[:9], subset_size=5, seed=1) != kid(x, y[:9])


@pytest.mark.parametrize("sigma", [1.0, 0.5])
@pytest.mark.parametrize("offset", [0, 1e7])
def test_kmmd_equals_the_stated_convention(sigma, offset):
    x, y = normal(9, 3, seed=1) + offset, 1.5 * normal(7, 3, seed=2) + 0.4 + offset
    k = gauss(x, sigma)
    biased = pair_means(x, x, k)[0] + pair_means(y, y, k)[0] - 2 * pair_means(x, y, k)[0]
    assert kmmd(x, y, sigma) == pytest.approx(math.sqrt(biased), rel=1e-6)
    assert kmmd_squared(x, y, sigma) == pytest.approx(unbiased(x, y, k), rel=1e-6)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(3, 20), d=st.integers(1, 6), seed=st.integers(0, 1000), c=st.floats(1e-3, 1e3))
def test_kmmd_is_zero_on_itself_and_does_not_see_units_places_or_order(n, d, seed, c):
    x, y = normal(n, d, seed), normal(n + 1, d, seed + 1) + 1
    assert kmmd(x, x.flip(0)) == pytest.approx(0, abs=1e-6)
    assert kmmd(c * x + 3, (c * y + 3).flip(0)) == pytest.approx(kmmd(x, y), rel=1e-6)
    assert kmmd(x, x + 0.5) == pytest.approx(kmmd(x + 0.5, x), rel=1e-6)  # one scale: symmetric
    assert 0 < kmmd(x, y) <= math.sqrt(2)
    assert kmmd_squared(x, y) < kmmd(x, y) ** 2


def test_kmmd_of_laws_far_apart_and_its_two_scales():
    x, y = normal(200, 50, seed=1), normal(200, 50, seed=2) + 100
    assert kmmd(x, y) == pytest.approx(math.sqrt(2 * math.exp(-0.5)), abs=0.02)
    assert abs(kmmd(x, 3 * y) - kmmd(3 * y, x)) > 0.1  # the reals' scale is the kernel's


# Isotropic Gaussians in 2048 dimensions, n against n: what this project's survey of metrics found.
@pytest.mark.parametrize(("n", "floor"), [(10, 0.291), (25, 0.180), (100, 0.089)])
def test_the_floor_of_small_samples(n, floor):
    values = [kmmd(normal(n, 2048, 2 * seed), normal(n, 2048, 2 * seed + 1)) for seed in range(5)]
    assert statistics.fmean(values) == pytest.approx(floor, rel=0.03)
    assert floor == pytest.approx(0.9 / n**0.5, rel=0.05)  # as the docstring says


def test_the_unbiased_square_averages_zero_between_equal_laws():
    values = [kmmd_squared(normal(10, 5, 2 * seed), normal(10, 5, 2 * seed + 1)) for seed in range(200)]
    # s is of the order of the noise at n = 10, which makes this nearly, not exactly, unbiased
    assert abs(statistics.fmean(values)) < 5 * statistics.stdev(values) / len(values) ** 0.5
    assert min(values) < 0 < max(values)


def test_p_is_uniform_where_the_laws_are_one():
    def p(seed):
        x, y = normal(8, 3, 2 * seed), normal(12, 3, 2 * seed + 1)
        return permutation_p_value(x, y, permutations=19, rng=torch.Generator().manual_seed(seed))

    ps = [p(seed) for seed in range(300)]
    assert {round(20 * p) for p in ps} == set(range(1, 21))
    for level in (0.1, 0.5, 0.9):
        share = statistics.fmean(p <= level + 1e-9 for p in ps)
        assert abs(share - level) < 4 * (level * (1 - level) / 300) ** 0.5


def test_p_is_small_where_they_are_not_and_repeats_by_seed():
    x, y = normal(40, 5, seed=1), normal(40, 5, seed=2) + 0.8

    def p(seed):
        return permutation_p_value(x, y, permutations=99, rng=torch.Generator().manual_seed(seed))

    assert p(0) == p(0) == pytest.approx(0.01)
    near = y - 0.6
    assert permutation_p_value(x, near, rng=torch.Generator().manual_seed(1)) != permutation_p_value(
        x, near, rng=torch.Generator().manual_seed(2)
    )


def test_p_is_the_share_of_all_divisions():
    x, y = normal(4, 2, seed=3), normal(4, 2, seed=4) + 0.7
    rows = torch.cat([x, y])
    k = gauss(rows)
    places = range(len(rows))
    table = []
    for chosen in itertools.combinations(places, len(x)):
        rest = [i for i in places if i not in chosen]
        table.append((chosen, unbiased(rows[list(chosen)], rows[rest], k)))
    given_one = dict(table)[(0, 1, 2, 3)]
    exact = statistics.fmean(value >= given_one - 1e-12 for _, value in table)
    assert 0.02 < exact < 0.9
    p = permutation_p_value(x, y, permutations=2000, rng=torch.Generator().manual_seed(0))
    assert p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2000) ** 0.5 + 1 / 2000)


def test_senseless_options_are_one_clear_line():
    x, y, same = normal(5, 2, 0), normal(5, 2, 1), torch.full((5, 2), 0.1)
    rng = torch.Generator()
    for call, says in [
        (lambda: kmmd(x, y, sigma=0), "positive, got 0"),
        (lambda: kmmd_squared(x, y, sigma=math.nan), "positive"),
        (lambda: kmmd(same, y), "all alike"),
        (lambda: kmmd_squared(same, y), "all alike"),
        (lambda: permutation_p_value(same, same, rng=rng), "all alike"),
        (lambda: permutation_p_value(x, y, permutations=0, rng=rng), "at least 1 permutation"),
        (lambda: kid(x, y, subsets=0), "at least 1 subset"),
        (lambda: kid(x, y, subset_size=1), "2 rows"),
    ]:
        with pytest.raises(UserError, match=says) as error:
            call()
        assert "\n" not in str(error.value)
    assert kmmd(x, same) > 0  # a collapsed generator can be measured
