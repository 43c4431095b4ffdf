"""Bad features meet one clear line, whichever distance they are given to."""

import dataclasses
import math
import re

import pytest
import torch

from minegan_lite import metrics
from minegan_lite.errors import UserError

GOOD = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
NOTHING, NAN = torch.zeros(0, 3), torch.full((10, 3), torch.nan)
DISTANCES = [
    metrics.frechet_distance,
    metrics.kid,
    metrics.kmmd,
    metrics.kmmd_squared,
    metrics.mean_variance,
    metrics.precision,
    metrics.recall,
    metrics.density,
    metrics.coverage,
    metrics.neighbour_accuracy,
    metrics.intra_cluster_distance,
    lambda x, y: metrics.permutation_p_value(x, y, rng=torch.Generator()),
    lambda x, y: metrics.training_ratio(x, y[:5], y[5:]),
    lambda x, y: metrics.training_ratio(y[:5], y[5:], x),
]


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (torch.zeros(10, 4), "one (d|shape)"),
        (torch.zeros(30), "one (d|shape)"),
        (torch.zeros(10, 3, 1), "one (d|shape)"),
        (NAN, "NaN"),
        (torch.tensor([[0.0, torch.inf, 0.0]] * 10), "infinite"),
        (NOTHING, "at least|more than|one shape"),
    ],
)
def test_bad_features_are_one_clear_line(distance, bad, says):
    for pair in ((GOOD, bad), (bad, GOOD)):
        with pytest.raises(UserError, match=says) as error:
            distance(*pair)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "distance", [metrics.frechet_distance, metrics.kid, metrics.kmmd, metrics.kmmd_squared, metrics.mean_variance]
)
def test_one_row_is_too_few(distance):
    for pair in ((GOOD, GOOD[:1]), (GOOD[:1], GOOD)):
        with pytest.raises(UserError, match="at least 2 rows"):
            distance(*pair)


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("distance", DISTANCES)
def test_features_that_are_all_alike_are_measured_or_refused_in_one_line(distance):
    def found(*pair):
        try:
            result = distance(*pair)
        except UserError as error:
            return error
        return dataclasses.asdict(result).values() if dataclasses.is_dataclass(result) else [result]

    alike = torch.ones(10, 3)
    for result in (found(GOOD, alike), found(alike, GOOD), found(alike, alike)):
        if isinstance(result, UserError):
            assert re.fullmatch(".*(all alike|copies of training images).*", str(result))
        else:
            assert all(map(math.isfinite, result))


@pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")
@pytest.mark.parametrize("distance", DISTANCES)
def test_half_precision_and_gradients_do_no_harm(distance):
    x, y = GOOD.half().requires_grad_(), (GOOD.flip(0) + 0.5).half()
    assert distance(x, y) == distance(x.detach().double(), y.double())
