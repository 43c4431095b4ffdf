"""The benchmark's ideas are what they claim to be: those that only save time train the same miner, the others not."""

import sys

import pytest
import torch

from benchmarks import biggan_deep_speed, mining_step, supersample_memory
from minegan_lite import zoo
from minegan_lite.networks import biggan_deep
from tests.close import close, terms


def trained(idea: str) -> torch.Tensor:
    torch.set_num_threads(1)
    images = torch.rand(80, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    miner = mining_step.run(idea, zoo.load(mining_step.SOURCE), images, steps=3, seed=0).miner
    return torch.cat([weight.flatten() for weight in miner.parameters()])


def test_ideas_that_only_save_time_train_the_same_miner_and_the_others_another():
    miners = {idea: trained(idea) for idea in mining_step.IDEAS}
    apart = (miners["textbook"] - miners["library"]).norm()
    for idea, what in mining_step.IDEAS.items():
        for other in mining_step.MEASURED:
            distance = (miners[idea] - miners[other]).norm()
            if other in (idea, what.get("same")):
                assert distance < 0.01 * apart, (idea, other)
            else:
                assert distance > 0.02 * apart, (idea, other)


def test_ratios_are_of_one_round_and_told_with_quartiles():
    now = {"t": 0.0}

    def busy(seconds):
        def work():
            now["t"] += seconds

        return work

    rows = mining_step.ratios({"a": busy(2.0), "b": busy(1.0)}, "a", rounds=5, clock=lambda: now["t"])
    assert rows["a"]["median"] == 1.0
    assert rows["b"] == {"median": 0.5, "low": 0.5, "high": 0.5, "seconds": 1.0}


def test_interval_is_students():
    row = mining_step.interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert row["mean"] == 3.0
    # 2.776 · sqrt(2.5) / sqrt(5)
    assert abs(row["half_width"] - 1.963) < 1e-3


def test_the_naive_supersample_is_the_same_step_at_a_greater_cost():
    """By its gradients: Adam divides them by their own size, and so makes whole steps of what is but rounding."""
    batch, gradients = 8, []
    for naive in (False, True):
        state, step = supersample_memory.state_and_step(3, batch, naive)
        state.critic_optimizer.param_groups[0]["lr"] = 0.0
        step()
        gradients.append([w.grad for part in (state.miners, state.critic) for w in part.parameters()])
    way = terms(state.miners[0]) + terms(state.generators[0]) + terms(state.critic)
    sizes = [*2 * way, *2 * terms(state.critic), batch * 28 * 28]  # there and back; the penalty; a filter's places
    assert len(gradients[0]) > 10
    for ours, naive in zip(*gradients, strict=True):
        close(ours, naive, *sizes)


def test_more_sources_cost_no_more_memory_unless_done_naively():
    peaks = supersample_memory.measure((1, 5), batch=32)
    ratios = {way: row["5"] / row["1"] for way, row in peaks.items()}
    assert ratios["ours"] <= supersample_memory.AIM < 2 < ratios["naive"]
    assert supersample_memory.table(peaks).count("\n") == 3


def tiny_biggan_deep() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return biggan_deep.Generator(32, 8, 6, 6, 4, attention=(16,)).eval().requires_grad_(False)


def test_what_is_raced_agrees_first_and_is_then_timed_in_every_variant():
    """The clock here counts forward passes, since seconds depend on what else the machine does."""
    generator, passes_done = tiny_biggan_deep(), []
    generator.register_forward_hook(lambda *_: passes_done.append(1))

    def twice(z, embedding):
        generator(z, embedding)
        return generator(z, embedding)

    numbers = biggan_deep_speed.measure(twice, generator, 5, (1, 3), clock=lambda: len(passes_done))
    assert numbers["time"].keys() == {"1", "3"}
    assert numbers["apart"]["ours"] == {"forward": 0.0, "forward and backward": 0.0}
    assert numbers["apart"]["ours, channels_last"]["forward"] < 1e-4 < numbers["apart"]["ours, bfloat16"]["forward"]
    for passes in numbers["time"].values():
        for rows in passes.values():
            assert rows["published code"] == {"median": 1.0, "low": 1.0, "high": 1.0, "seconds": 2.0}
            ours = [row for name, row in rows.items() if name != "published code"]
            assert ours == [{"median": 0.5, "low": 0.5, "high": 0.5, "seconds": 1.0}] * 4
    assert biggan_deep_speed.table(numbers).count("\n") == 5


def test_two_networks_that_differ_are_not_raced():
    generator = tiny_biggan_deep()
    with pytest.raises(SystemExit, match="ours is not the published network"):
        biggan_deep_speed.measure(lambda z, e: generator(z, e) * 1.001, generator, rounds=1, batches=(1,))


def test_without_the_published_code_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_pretrained_biggan", None)
    with pytest.raises(SystemExit, match=r"^[^\n]+pip install pytorch-pretrained-biggan$"):
        biggan_deep_speed.published()
