"""Who is near whom in two sets of rows: by matrix products, and pair by pair where their rounding could decide.

A matrix product gives the distances of all pairs many times faster than their differences do, but with an error that
gives copies a distance above 0. That error has a bound, and only pairs for which it matters are computed again, from
their differences.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

TABLE = 2**22  # numbers of a table that are in memory at a time: 32 MB
GATHERED = 2**18  # numbers of the rows that are compared pair by pair at a time: small enough for a cache
PRECISE = 1e6  # the error's bound is this much smaller than a squared distance that is averaged


def neighbours(x: Tensor, y: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
    """The k least Euclidean distances of each row of x (n, d) to rows of y (m, d), and the indices of these rows.

    Both are (n, k) and ascend by distance; of rows that are equally near the first comes first. x and y are float64,
    neither very large nor very small (see checks.magnitude), and 1 ≤ k ≤ m. A row that is in y too finds itself.
    """
    distances, indices = [], []
    for part, squared, error in _blocks(x, y):
        limit = (squared + error).kthvalue(k, dim=1, keepdim=True).values  # at least k are surely this near
        rows, columns = (squared - error <= limit).nonzero(as_tuple=True)
        exact = _pair_by_pair(part, rows, y, columns)
        order = exact.argsort(stable=True)
        order = order[rows[order].argsort(stable=True)]  # row after row, each from its nearest on
        counts = rows.bincount(minlength=len(part))
        kept = order[(counts.cumsum(0) - counts)[:, None] + torch.arange(k)]
        distances.append(exact[kept])
        indices.append(columns[kept])
    return torch.cat(distances), torch.cat(indices)


def within(x: Tensor, y: Tensor, radius: Tensor) -> Tensor:
    """Whether the rows of x (n, d), each with its own radius (n,), are strictly nearer than that to those of y (m, d).

    (n, m), of x and y as `neighbours` takes them.
    """
    tables = []
    for (part, squared, error), own in zip(_blocks(x, y), radius.split(_rows(y)), strict=True):
        limit = own.square()[:, None]
        inside = squared < limit
        rows, columns = ((squared - limit).abs() <= error).nonzero(as_tuple=True)
        inside[rows, columns] = _pair_by_pair(part, rows, y, columns) < own[rows]
        tables.append(inside)
    return torch.cat(tables)


def mean_distance(x: Tensor) -> Tensor:
    """The mean Euclidean distance of two different rows of x (n, d), n ≥ 2: 0 where all are the same."""
    total = torch.zeros((), dtype=torch.float64)
    for part, squared, error in _blocks(x, x):
        rows, columns = (squared <= PRECISE * error).nonzero(as_tuple=True)
        distances = squared.clamp_(min=0).sqrt_()
        distances[rows, columns] = _pair_by_pair(part, rows, x, columns)
        total += distances.sum()
    return total / (len(x) * (len(x) - 1))


def _rows(y: Tensor) -> int:
    """How many rows of a table of distances to y are in memory at a time."""
    return max(1, TABLE // len(y))


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Some rows (b, d) of x, their squared distances (b, m) from y, and a bound on the error of each."""
    centre = y.mean(dim=0)  # far from the origin, products would lose the digits
    moved = y - centre
    of_y = moved.square().sum(dim=1)
    # A sum of d products errs by at most d roundings of its size, which is here below ‖x‖² + ‖y‖²: twice for the two
    # terms, as much again for the differences that decide, and some for centring and squaring.
    rounding = (4 * y.shape[1] + 32) * torch.finfo(torch.float64).eps
    for part in x.split(_rows(y)):
        here = part - centre
        norms = here.square().sum(dim=1, keepdim=True) + of_y
        yield part, torch.addmm(norms, here, moved.T, alpha=-2), rounding * norms


def _pair_by_pair(x: Tensor, rows: Tensor, y: Tensor, columns: Tensor) -> Tensor:
    """The distance of each x[rows] from its y[columns], from differences: exactly 0 for copies."""
    size = max(1, GATHERED // x.shape[1])
    return torch.cat(
        [
            torch.cdist(x[i].unsqueeze(1), y[j].unsqueeze(1), compute_mode="donot_use_mm_for_euclid_dist").flatten()
            for i, j in zip(rows.split(size), columns.split(size), strict=True)
        ]
    )
