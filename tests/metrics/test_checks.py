"""Bad features meet one clear line, whichever distance they are given to."""

import dataclasses
import math
import re

import numpy as np
import pytest
import torch

from minegan_lite import metrics
from minegan_lite.errors import UserError

GOOD = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))
X, Y = (torch.randn(10, 3, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (1, 2))
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
    lambda x, y: metrics.nearest(x, y)[0].mean().item(),
    lambda x, y: metrics.copying(x, y[:5], y[5:10]),
]
few_rows = pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")


def numbers(result) -> list[float]:
    return list(dataclasses.asdict(result).values()) if dataclasses.is_dataclass(result) else [result]


def test_every_distance_is_tried():
    ours = {name for name in metrics.__all__ if name.islower()} - {
        "classifier_error", "digit_features", "digit_shares", "evaluate", "features_of", "fid_inception",
        "format_report", "lite0", "measure", "signature", "torchvision_inception",
    }  # fmt: skip
    tried = {name for distance in DISTANCES for name in (distance.__name__, *distance.__code__.co_names)}
    assert ours <= tried


@few_rows
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


@few_rows
@pytest.mark.parametrize("distance", DISTANCES)
def test_features_that_are_all_alike_are_measured_or_refused_in_one_line(distance):
    def found(*pair):
        try:
            return numbers(distance(*pair))
        except UserError as error:
            return error

    for alike in (torch.ones(10, 3), torch.full((10, 3), 0.1)):  # a sum of 0.1 is rounded, so means are a little off
        for result in (found(GOOD, alike), found(alike, GOOD), found(alike, alike)):
            if isinstance(result, UserError):
                assert re.fullmatch(".*(all alike|copies of training images).*", str(result))
            else:
                assert all(map(math.isfinite, result))


@few_rows
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_row_that_is_there_twice_does_no_harm(distance):
    for x, twice in ((X, torch.cat([Y[:9], Y[:1]])), (torch.cat([X[:9], X[:1]]), Y)):
        for pair in ((x, twice), (twice, x)):
            assert all(map(math.isfinite, numbers(distance(*pair))))


OF_LENGTHS = [metrics.intra_cluster_distance, DISTANCES[-2]]  # they grow with the features
FREE_OF_SCALE = [d for d in DISTANCES if d not in (metrics.frechet_distance, metrics.kid, *OF_LENGTHS)]


@few_rows
@pytest.mark.parametrize("distance", FREE_OF_SCALE)
@pytest.mark.parametrize("c", [1e200, 1e-200, 1e306, 1e-300])
def test_the_unit_of_the_features_has_no_say(distance, c):
    assert numbers(distance(c * X, c * Y)) == pytest.approx(numbers(distance(X, Y)), rel=1e-6)


@few_rows
@pytest.mark.parametrize("distance", OF_LENGTHS)
@pytest.mark.parametrize("c", [1e200, 1e-200])
def test_lengths_grow_with_the_features(distance, c):
    assert numbers(distance(c * X, c * Y))[0] == pytest.approx(c * numbers(distance(X, Y))[0], rel=1e-6)


@few_rows
@pytest.mark.parametrize("distance", [metrics.frechet_distance, metrics.kid])
def test_squares_that_are_no_floats_are_refused(distance):
    for pair in ((1e200 * X, 1e200 * Y), (X, 1e200 * Y), (1e200 * X, Y), (1e200 * X, 1e200 * X)):
        with pytest.raises(UserError, match=r"too large.* divide") as error:
            distance(*pair)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="too small"):
        metrics.frechet_distance(1e-200 * X, 1e-200 * Y)  # not 0: they differ


PERFECT = {
    metrics.frechet_distance: 0, metrics.kmmd: 0, metrics.kmmd_squared: 0, metrics.mean_variance: 1,
    metrics.precision: 1, metrics.density: 1, metrics.coverage: 1,
}  # fmt: skip


@few_rows
@pytest.mark.parametrize("distance", PERFECT)
@pytest.mark.parametrize("c", [1e30, 1e200, 1e307])
def test_fakes_that_explode_have_no_perfect_score(distance, c):
    try:
        value = distance(X, c * Y)
    except UserError as error:
        assert re.search("too large|all alike", str(error))  # noqa: PT017
    else:
        assert math.isfinite(value)
        assert value != pytest.approx(PERFECT[distance], abs=0.1)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    "wrong",
    [
        GOOD.numpy(),
        np.zeros((10, 3), dtype=np.uint8),
        GOOD.to(torch.int64),
        GOOD.to(torch.uint8),
        GOOD > 0,
        GOOD.to(torch.complex64),
        [[0.0] * 3] * 10,
    ],
    ids=lambda wrong: f"{type(wrong).__name__}-{getattr(wrong, 'dtype', '')}",
)
def test_anything_but_tensors_of_floats_is_one_clear_line(distance, wrong):
    for pair in ((GOOD, wrong), (wrong, GOOD), (wrong, wrong)):
        with pytest.raises(UserError, match=r"tensors, got|floating-point numbers, got") as error:
            distance(*pair)
        assert "\n" not in str(error.value)


@few_rows
@pytest.mark.parametrize("distance", DISTANCES)
def test_half_precision_and_gradients_do_no_harm(distance):
    x, y = GOOD.half().requires_grad_(), (GOOD.flip(0) + 0.5).half()
    assert distance(x, y) == distance(x.detach().double(), y.double())
