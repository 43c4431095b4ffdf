"""The benchmark's ideas are what they claim to be: those that only save time train the same miner, the others not."""

import torch

from benchmarks import mining_step
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
