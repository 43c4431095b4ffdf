"""Precision, recall, density, coverage and 1-NN accuracy: counted by hand, by their definitions, and on copies."""

import statistics

import pytest
import torch

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import FewRows
from minegan_lite.metrics.neighbours import coverage, density, neighbour_accuracy, precision, recall

pytestmark = pytest.mark.filterwarnings("ignore::minegan_lite.metrics.checks.FewRows")


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def line(*places: float) -> torch.Tensor:
    return torch.tensor(places, dtype=torch.float64)[:, None]


def test_coverage_of_points_on_a_line_is_counted_by_hand():
    real = line(0, 1, 3, 7)
    # distance to the nearest other real: 1, 1, 2, 4; to the second: 3, 2, 3, 6
    assert coverage(real, line(0.5), k=1) == 0.5  # 0 and 1; 3 is 2.5 away
    assert coverage(real, line(-1), k=1) == 0  # exactly on the ball of 0: not inside
    assert coverage(real, line(-1), k=2) == 0.25  # 0 alone; 1 is exactly 2 away
    assert coverage(real, line(3.5, 20), k=1) == 0.5  # 3 and 7 (3.5 < 4)
    assert coverage(real, real, k=1) == 1


def test_the_others_on_a_line_are_counted_by_hand():
    real, fake = line(0, 1, 3, 7), line(0.5, 3.5, 6, 20)
    # balls of reals, k = 1: (−1, 1), (0, 2), (1, 5), (3, 11); of fakes: (−2.5, 3.5), (1, 6), (3.5, 8.5), (6, 34)
    assert precision(real, fake, k=1) == 0.75  # all but 20
    assert density(real, fake, k=1) == (2 + 2 + 1 + 0) / 4
    assert recall(real, fake, k=1) == 1  # 0, 1, 3 in the first; 7 in the third
    assert coverage(real, fake, k=1) == 1  # the fakes nearest to the reals: 0.5, 0.5, 3.5 and 6
    # k = 2: 0 to (−3, 3), 1 to (−1, 3), 3 to (0, 6), 7 to (1, 13)
    assert density(real, fake, k=2) == (3 + 2 + 1 + 0) / 4 / 2  # 6 is exactly on the ball of 3


def test_coverage_of_copies_is_exact():
    pairs = normal(30, 64, seed=1).repeat_interleave(2, dim=0) + 100
    alone = normal(20, 64, seed=2) + 100
    # a ball of radius 0 around one of two equal reals holds nothing, not even its copy; that of a lone real does
    reals = torch.cat([pairs, alone])
    assert coverage(reals, reals, k=1) == pytest.approx(20 / 80)
    assert coverage(reals, reals, k=2) == 1
    near_twins = torch.cat([alone, alone + 1e-8])  # radius 8e-8: a copy is inside it only at a distance of exactly 0
    assert coverage(near_twins, near_twins, k=1) == 1


@pytest.mark.parametrize("k", [1, 3])
def test_all_four_equal_their_definitions(k):
    real, fake = normal(25, 3, seed=1), 0.8 * normal(20, 3, seed=2) + 0.3

    def radius(rows, i):
        return sorted(float((rows[i] - rows[j]).norm()) for j in range(len(rows)) if j != i)[k - 1]

    def inside(centres, points):
        return [[float((c - p).norm()) < radius(centres, i) for p in points] for i, c in enumerate(centres)]

    of_real, of_fake = inside(real, fake), inside(fake, real)
    expected = [
        sum(map(any, zip(*of_real, strict=True))) / 20,
        sum(map(any, zip(*of_fake, strict=True))) / 25,
        sum(map(sum, of_real)) / (20 * k),
        sum(map(any, of_real)) / 25,
    ]
    assert all(0 < value < 3 for value in expected)
    for measure, value in zip((precision, recall, density, coverage), expected, strict=True):
        assert measure(real, fake, k) == pytest.approx(value)


def test_a_collapsed_generator_is_precise_and_covers_little():
    real = normal(100, 4, seed=1)
    collapsed = real.mean(dim=0) + 1e-3 * normal(100, 4, seed=2)
    assert precision(real, collapsed) == 1
    assert recall(real, collapsed) == 0
    assert coverage(real, collapsed) < 0.6 < coverage(real, normal(100, 4, seed=3))


@pytest.mark.parametrize("measure", [precision, recall, density, coverage])
def test_reals_that_are_all_alike_say_why_nothing_is_measured(measure):
    fake = normal(20, 3, seed=1)
    for constant in (0.0, 0.1, 7.0):
        alike = torch.full((20, 3), constant, dtype=torch.float64)
        for other in (fake, alike):
            with pytest.raises(UserError, match=r"real features are all alike.*feature network constant") as error:
                measure(alike, other, 2)
            assert "\n" not in str(error.value)


def test_balls_without_a_size_are_refused_around_reals_and_hold_nothing_around_fakes():
    rows, three = normal(20, 3, seed=1), normal(7, 3, seed=2).repeat(3, 1)
    for measure in (precision, density, coverage):
        with pytest.raises(UserError, match="more than 2 times"):
            measure(three, rows, 2)
        assert 0 <= measure(three, rows, 3) < 2
    assert recall(rows, three, 2) == 0
    assert recall(rows, rows[:1].repeat(20, 1), 2) == 0  # a collapsed generator, which is measured


def test_balls_of_a_quarter_of_the_set_are_warned_of():
    real, fake = normal(12, 2, seed=1), normal(50, 2, seed=2)
    for measure in (precision, density, coverage):
        with pytest.warns(FewRows, match="each of 12 rows holds 3"):
            measure(real, fake, k=3)
    with pytest.warns(FewRows, match="each of 12 rows"):
        recall(fake, real, k=3)


@pytest.mark.filterwarnings("error")
def test_enough_rows_are_not_warned_of():
    for measure in (precision, recall, density, coverage):
        measure(normal(50, 2, seed=1), normal(50, 2, seed=2))


def test_accuracy_on_a_line_is_counted_by_hand():
    # neighbours: 0 → 1 (real), 1 → 0 (real), 5 → 6 (fake); 6 → 5 (real), 8 → 9 (fake), 9 → 8 (fake)
    told = neighbour_accuracy(line(0, 1, 5), line(6, 8, 9))
    assert (told.both, told.real, told.fake) == pytest.approx((4 / 6, 2 / 3, 2 / 3))
    # 0 has a real and a fake 1 away, which counts half; 1 and −1 are nearest to 0, 10 to 1: all real
    told = neighbour_accuracy(line(0, 1), line(-1, 10))
    assert (told.real, told.fake) == pytest.approx(((0.5 + 1) / 2, 0))
    turned = neighbour_accuracy(line(-1, 10), line(0, 1))
    assert (turned.real, turned.fake, turned.both) == (told.fake, told.real, told.both)


def test_accuracy_flags_copies_of_the_training_images_and_passes_new_ones():
    train, new = normal(400, 16, seed=1), normal(400, 16, seed=2)
    copies = train[torch.randint(400, (400,), generator=torch.Generator().manual_seed(3))] + 1e-3 * new
    assert neighbour_accuracy(train, copies).real < 0.3
    assert neighbour_accuracy(train, train.flip(0)).real == 0
    honest = neighbour_accuracy(train, new)
    assert (honest.both, honest.real, honest.fake) == pytest.approx((0.5, 0.5, 0.5), abs=0.1)
    apart = neighbour_accuracy(train, new + 20)
    assert (apart.both, apart.real, apart.fake) == (1, 1, 1)


# Laws that are one, n of each: what this project's survey of metrics found, mean and spread.
@pytest.mark.parametrize(("n", "mean", "sd"), [(10, 0.47, 0.11), (100, 0.50, 0.04)])
def test_the_floor_of_small_samples(n, mean, sd):
    found = [neighbour_accuracy(normal(n, 8, 2 * i), normal(n, 8, 2 * i + 1)).both for i in range(20)]
    assert statistics.fmean(found) == pytest.approx(mean, abs=sd)
    assert statistics.stdev(found) == pytest.approx(sd, rel=0.5)


def test_too_few_rows_and_unequal_sides_are_refused():
    x = normal(6, 3, seed=1)
    for measure in (precision, density, coverage):
        for centres, points, k in ((x, x, 0), (x, x, 6), (x, x[:0], 2), (x[:0], x, 2)):
            with pytest.raises(UserError, match=f"k={k}"):
                measure(centres, points, k)
    with pytest.raises(UserError, match="k=3"):
        recall(x, x[:3], 3)
    with pytest.raises(UserError, match="6 and 5"):
        neighbour_accuracy(x, x[:5])
    with pytest.raises(UserError, match="at least 2 rows"):
        neighbour_accuracy(x[:1], x[:1])
