"""The benchmark's ideas are what they claim to be: those that only save time train the same miner, the others not."""

import torch

from benchmarks import mining_step, supersample_memory
from minegan_lite import zoo


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
    weights = []
    for naive in (False, True):
        stage, step = supersample_memory.stage_and_step(3, 8, naive)
        step()
        weights.append([w.detach().clone() for w in stage.miners.parameters()])
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*weights, strict=True))


def test_more_sources_cost_no_more_memory_unless_done_naively():
    peaks = supersample_memory.measure((1, 5), batch=32)
    ratios = {way: row["5"] / row["1"] for way, row in peaks.items()}
    assert ratios["ours"] <= supersample_memory.AIM < 2 < ratios["naive"]
    assert supersample_memory.table(peaks).count("\n") == 3
