"""Neighbours found by matrix products are those of the differences: on random rows, clusters, copies and ties."""

import pytest
import torch

from minegan_lite.metrics import pairwise


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(rows: torch.Tensor, n: int, seed: int) -> torch.Tensor:
    return rows[torch.randint(len(rows), (n,), generator=torch.Generator().manual_seed(seed))]


def grid(n: int, d: int, seed: int) -> torch.Tensor:
    """Small whole numbers: copies and equal distances abound, and no sum of squares is rounded."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, (n, d), generator=rng).double()


CASES = {
    "random": (normal(70, 20, 1), normal(60, 20, 2)),
    "far from the origin": (normal(70, 20, 1) + 1e6, normal(60, 20, 2) + 1e6),
    "clusters": (drawn(normal(5, 9, 1), 70, 2) + 1e-9 * normal(70, 9, 3), drawn(normal(5, 9, 1), 60, 4)),
    "copies": (drawn(normal(40, 30, 1), 70, 2), drawn(normal(40, 30, 1), 60, 3)),
    "ties": (grid(70, 3, 1), grid(60, 3, 2)),
    "one place": (torch.full((70, 4), 0.1, dtype=torch.float64), torch.full((60, 4), 0.1, dtype=torch.float64)),
    "one feature": (normal(70, 1, 1), normal(60, 1, 2)),
}
everywhere = pytest.mark.parametrize(("x", "y"), CASES.values(), ids=CASES)


@pytest.fixture(params=[False, True], ids=["whole", "in parts"], autouse=True)
def parts(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(pairwise, "TABLE", 500)
        monkeypatch.setattr(pairwise, "GATHERED", 64)


def by_differences(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


@everywhere
@pytest.mark.parametrize("k", [1, 4])
def test_the_nearest_are_those_of_the_differences(x, y, k):
    for references in (y, x):
        distances, indices = pairwise.neighbours(x, references, k)
        expected = by_differences(x, references).sort(dim=1, stable=True)
        torch.testing.assert_close(distances, expected.values[:, :k], rtol=1e-12, atol=0)  # copies: exactly 0
        assert torch.equal(indices, expected.indices[:, :k])


@everywhere
def test_who_is_within_a_radius_is_decided_as_by_the_differences(x, y):
    radius = pairwise.neighbours(x, x, 3)[0][:, 2]  # others lie exactly on it: the third, and all of its copies
    for references in (y, x):
        assert torch.equal(pairwise.within(x, references, radius), by_differences(x, references) < radius[:, None])


@everywhere
def test_mean_distances_are_those_of_the_differences(x, y):
    for rows in (x, y, torch.cat([x, y])):
        expected = torch.pdist(rows).mean()
        torch.testing.assert_close(pairwise.mean_distance(rows), expected, rtol=1e-6, atol=0)
    assert pairwise.mean_distance(y[:1].repeat(9, 1)) == 0


def test_few_pairs_of_ordinary_rows_are_computed_one_by_one(monkeypatch):
    """What makes it fast: n·k of n² pairs for the neighbours, and none for the balls."""
    counted = []
    one_by_one = pairwise._pair_by_pair
    monkeypatch.setattr(pairwise, "_pair_by_pair", lambda x, i, y, j: counted.append(len(i)) or one_by_one(x, i, y, j))
    x, y = normal(200, 64, 1) + 1e5, normal(200, 64, 2) + 1e5  # wherever they lie
    radius = pairwise.neighbours(x, x, 4)[0][:, 3]
    assert sum(counted) == 200 * 4
    counted.clear()
    pairwise.within(x, y, radius)
    assert sum(counted) == 0
