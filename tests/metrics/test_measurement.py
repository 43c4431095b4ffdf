"""measure: equal n for value and floor, an interval that covers what is known, and a record that says what it is."""

import json
import statistics
from dataclasses import asdict
from functools import partial

import pytest
import torch

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import FewRows
from minegan_lite.metrics.distances import frechet_distance
from minegan_lite.metrics.kernels import kmmd
from minegan_lite.metrics.measurement import measure
from minegan_lite.metrics.neighbours import coverage, neighbour_accuracy


def normal(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(x: torch.Tensor) -> set:
    return {tuple(row) for row in x.flatten(1).tolist()}


def shift(real, fake):
    return (fake.mean() - real.mean()).item()


def squared_shift(real, fake):
    """(Δμ)² without bias, at any n."""
    noise = real.var() / len(real) + fake.var() / len(fake)
    return ((fake.mean() - real.mean()) ** 2 - noise).item()


@pytest.mark.parametrize(("distance", "truth"), [(shift, 0.6), (squared_shift, 0.36)])
def test_the_interval_covers_a_known_answer_as_often_as_it_says(distance, truth):
    covered, widths, values = [], [], []
    for seed in range(150):
        real, fake = normal(40, 1, 2 * seed), 2 * normal(40, 1, 2 * seed + 1) + 0.6
        told = measure(distance, real=real, fake=fake, rng=seeded(seed), signature="x", draws=50)
        low, high = told.interval
        assert low < told.value < high
        covered.append(low <= truth <= high)
        widths.append(high - low)
        values.append(told.value)
    assert 0.88 <= statistics.fmean(covered) <= 0.99
    assert statistics.fmean(widths) == pytest.approx(2 * 1.96 * statistics.stdev(values), rel=0.25)
    assert statistics.fmean(values) == pytest.approx(truth, abs=4 * statistics.stdev(values) / 150**0.5)


def test_value_and_floor_have_one_n_and_one_reference():
    calls = []

    def spy(real, fake):
        calls.append((real, fake))
        return float(len(calls))

    real, fake = normal(21, 2, seed=1), normal(300, 2, seed=2)
    told = measure(spy, real=real, fake=fake, rng=seeded(), signature="x", draws=8)
    assert (told.n, told.m, told.draws, len(calls)) == (10, 10, 8, 16)
    kept = set()
    for (a, block), (same_a, b) in zip(calls[::2], calls[1::2], strict=True):
        assert torch.equal(a, same_a)
        assert len(rows(a)) == len(rows(b)) == len(rows(block)) == 10  # nothing twice
        assert rows(a).isdisjoint(rows(b))
        assert rows(a) | rows(b) <= rows(real)
        assert rows(block) <= rows(fake)
        kept |= rows(block)
    assert len(kept) == 20  # as many fakes as reals take part
    assert len({frozenset(rows(a)) for a, _ in calls}) == 8
    assert told.value == statistics.fmean(range(1, 16, 2))
    assert told.floor == statistics.fmean(range(2, 17, 2))
    assert told.floor_interval == pytest.approx((2 + 0.025 * 14, 16 - 0.025 * 14))


def test_the_shorter_side_decides_n():
    def sizes(real, fake):
        return 1000 * len(real) + len(fake)

    for reals, fakes, n in ((30, 9, 4), (9, 30, 4), (4, 4, 2)):
        told = measure(sizes, real=normal(reals, 1, 0), fake=normal(fakes, 1, 1), rng=seeded(), signature="x", draws=3)
        assert told.interval == told.floor_interval == (1001 * n, 1001 * n)
        assert (told.n, told.m) == (n, n)


def test_a_faultless_generator_is_within_the_floor_and_others_are_not():
    real, good = normal(120, 6, seed=1), normal(120, 6, seed=2)
    narrow, moved = 0.3 * good, good + 1
    for distance in (frechet_distance, kmmd):
        told = {
            name: measure(distance, real=real, fake=fake, rng=seeded(), signature="x", draws=40)
            for name, fake in (("good", good), ("narrow", narrow), ("moved", moved))
        }
        assert len({row.floor for row in told.values()}) == 1  # one seed, one set of halves
        low, high = told["good"].floor_interval
        assert low <= told["good"].value <= high
        assert min(told["narrow"].interval[0], told["moved"].interval[0]) > high


def test_a_seed_is_a_result_and_the_global_state_has_no_say():
    real, fake = normal(20, 3, seed=1), normal(20, 3, seed=2)

    def told(seed):
        return measure(kmmd, real=real, fake=fake, rng=seeded(seed), signature="x", draws=20)

    first = told(1)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert told(1) == first != told(2)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_record_says_what_was_measured():
    real, fake = normal(40, 3, seed=1), normal(40, 3, seed=2)
    told = measure(partial(coverage, k=2), real=real, fake=fake, rng=seeded(), signature="net/3/abc", draws=5)
    assert told.distance == "coverage(k=2)"
    assert measure(kmmd, real=real, fake=fake, rng=seeded(), signature="x", draws=2).distance == "kmmd(sigma=1.0)"
    assert json.loads(json.dumps(asdict(told)))["floor_interval"] == list(told.floor_interval)
    for part in ("coverage(k=2)", f"{told.value:.4g}", f"{told.floor:.4g}", "n=20, m=20", "net/3/abc"):
        assert part in str(told)


def test_images_and_distances_of_any_kind_can_be_measured():
    def memorised(real, fake):
        return neighbour_accuracy(real.flatten(1), fake.flatten(1)).real

    train = normal(400, 36, seed=1).view(400, 1, 6, 6)
    told = measure(memorised, real=train, fake=train.clone(), rng=seeded(), signature="pixels", draws=20)
    assert told.interval[1] < told.floor_interval[0]


def test_few_rows_are_warned_of_as_by_the_distance_itself():
    with pytest.warns(FewRows, match="5 and 5 rows in 8 dimensions"):
        measure(frechet_distance, real=normal(10, 8, 0), fake=normal(10, 8, 1), rng=seeded(), signature="x", draws=2)


def test_what_cannot_be_measured_is_one_clear_line():
    x = normal(10, 2, seed=0)
    cases = [
        ({"real": x, "fake": x[:3]}, "got 10 and 3"),
        ({"real": x[:0], "fake": x}, "got 0 and 10"),
        ({"real": x, "fake": x, "draws": 1}, "at least 2 draws"),
        ({"real": x, "fake": x, "distance": lambda a, b: float("nan")}, "<lambda> is not finite"),
        ({"real": x, "fake": x * torch.nan, "distance": kmmd}, "NaN"),
        ({"real": x.numpy(), "fake": x}, "tensors, got ndarray"),
        ({"real": x, "fake": x.long()}, "floating-point numbers, got torch.int64"),
    ]
    for options, says in cases:
        with pytest.raises(UserError, match=says) as error:
            measure(**({"distance": shift, "rng": seeded(), "signature": "x"} | options))
        assert "\n" not in str(error.value)
