"""The selector counts, averages over its window, never says zero, and draws by what it says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minegan_lite.selector import Selector


def by_hand(minibatches: list[list[int]], n: int, window: int) -> list[float]:
    """p by the definition: wins in the last `window` minibatches, one more for each source, over their sum."""
    last = minibatches[-window:]
    wins = [1 + sum(winners.count(i) for winners in last) for i in range(n)]
    return [w / sum(wins) for w in wins]


@settings(deadline=None)
@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.integers(1, 6),
            st.lists(st.lists(st.integers(0, n - 1), min_size=1, max_size=8), max_size=12),
        )
    )
)
def test_p_is_the_definition_after_every_minibatch(case):
    n, window, minibatches = case
    selector = Selector(n, window)
    expected = [by_hand([], n, window)]
    for i, winners in enumerate(minibatches):
        selector.count(torch.tensor(winners))
        expected.append(by_hand(minibatches[: i + 1], n, window))
    torch.testing.assert_close(selector.trace(), torch.tensor(expected))
    torch.testing.assert_close(selector.probabilities, torch.tensor(expected[-1]))
    assert len(selector) == len(minibatches)
    assert selector.probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    assert (selector.trace() > 0).all()


def test_p_is_the_average_of_the_shares_up_to_the_one_extra_win():
    """Sec. 3.3: p_i is the empirical average of p̂_i; with 64,000 supersamples in the window nothing else is seen."""
    selector, rng = Selector(2), torch.Generator().manual_seed(0)
    for step in range(1500):
        share = 0.9 if step < 500 else 0.3  # what lies before the window must be forgotten
        selector.count((torch.rand(64, generator=rng) > share).long())
    average = (selector.wins()[-1000:] / 64).mean(0)
    assert (selector.probabilities - average).abs().max() < 1e-4
    assert selector.probabilities[0].item() == pytest.approx(0.3, abs=0.01)


def test_a_source_that_never_wins_keeps_a_chance():
    selector = Selector(3)
    for _ in range(10):
        selector.count(torch.zeros(64, dtype=torch.int64))
    p = selector.probabilities
    assert 0 < p[1] == p[2] < 0.002


def test_it_draws_by_its_probabilities_and_by_the_generator_alone():
    selector = Selector(3)
    selector.count(torch.tensor([0] * 10 + [1] * 30 + [2] * 60))
    draws = selector.choose(20_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(draws, minlength=3) / 20_000
    assert (shares - selector.probabilities).abs().max() < 0.015  # 4 standard deviations
    torch.randn(3)
    assert torch.equal(draws, selector.choose(20_000, torch.Generator().manual_seed(0)))
    assert not torch.equal(draws, selector.choose(20_000, torch.Generator().manual_seed(1)))


def test_its_state_is_everything():
    selector, copy = Selector(2), Selector(2)
    for winners in ([0, 0, 1], [1, 1, 1]):
        selector.count(torch.tensor(winners))
    copy.load_state_dict(selector.state_dict())
    assert torch.equal(copy.trace(), selector.trace())
    copy.count(torch.tensor([0, 0, 0]))
    assert len(copy) == 3
    assert len(selector) == 2


def test_an_empty_selector_survives_saving():
    copy = Selector(4)
    copy.load_state_dict(Selector(4).state_dict())
    assert copy.probabilities.tolist() == [0.25] * 4


@pytest.mark.parametrize(("n", "window"), [(0, 10), (2, 0), (-1, 1)])
def test_nothing_to_select_is_an_error(n, window):
    with pytest.raises(ValueError, match="at least one"):
        Selector(n, window)
