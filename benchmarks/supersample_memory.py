"""What more sources cost in memory: the peak of what one mining step allocates, beyond weights and their state.

`ours` scores the K×N images without a graph and runs the K winners again with one; `naive` is Eq. 5 and 6 as they are
written, every image with a graph. Each measurement is one whole step (critic, then miners) after two that warmed up, so
that gradients' and optimisers' buffers are there already; what a step frees again counts while it is there. Peaks are
those of torch's CPU allocator, from its profiler, and exact: no repetition, no noise.

    python benchmarks/supersample_memory.py            # measure and show
    python benchmarks/supersample_memory.py record     # into the ledger, as benchmarks/supersample_memory
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from minegan_lite import GAN, few_shot, training, zoo
from minegan_lite.chapters import ledger
from minegan_lite.config import Mining, resolve
from minegan_lite.nn import clone
from minegan_lite.selector import Selector
from minegan_lite.supersample import Player, Score
from minegan_lite.training import State, critic_step, miner_step

SOURCE, SOURCES, BATCH = "mnist-all", (1, 2, 4, 8), 64
AIM = 1.15


def everyone(players: Sequence[Player], n: int, score: Score, selector: Selector, objective: str = "max") -> Tensor:
    """supersample.fakes as Eq. 5 and 6 are written: all images, with a graph where there is one, then the maximum.

    The critic scores them with a graph too, which the maximum keeps.
    """
    images = torch.stack([player.images(player.draw(n)) for player in players])  # (N, n, C, H, W)
    winner = score(images.flatten(0, 1)).view(len(players), n).argmax(0)
    selector.count(winner)
    return images[winner, torch.arange(n)]


def state_and_step(count: int, batch: int, naive: bool) -> tuple[State, Callable[[], None]]:
    """A State with `count` copies of the source, and one mining step of it as a function without arguments."""
    gan = zoo.load(SOURCE)
    sources = [GAN(clone(gan.generator), gan.critic, gan.prior, f"{gan.name} {i}") for i in range(count)]
    for source in sources:
        source.generator.eval().requires_grad_(False)
    config = resolve(Mining, "default", {"batch": batch, "precision": "32"})
    state = State(config, sources, gan.critic, torch.device("cpu"), purpose="mine")
    images = few_shot("uci-digits", digit=9).train

    def step() -> None:
        with patch.object(training, "fakes", everyone) if naive else nullcontext():
            critic_step(state, images)
            miner_step(state)

    return state, step


def peak(step: Callable[[], None]) -> int:
    """The largest sum of bytes that are allocated at one moment of a step and were not before it."""
    for _ in range(2):
        step()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    held = largest = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            largest = max(largest, held)
    return largest


def measure(counts: tuple[int, ...] = SOURCES, batch: int = BATCH) -> dict[str, dict[str, int]]:
    """Peaks in bytes, by way of doing it and number of sources."""
    torch.set_num_threads(1)
    return {
        way: {str(n): peak(state_and_step(n, batch, naive)[1]) for n in counts}
        for way, naive in (("ours", False), ("naive", True))
    }


def table(peaks: dict[str, dict[str, int]]) -> str:
    """The peaks as a Markdown table, each with its ratio to one source."""
    lines = ["| sources | " + " | ".join(peaks) + " |", "|---" * (len(peaks) + 1) + "|"]
    for n in next(iter(peaks.values())):
        cells = [f"{row[n] / 2**20:.1f} MiB, {row[n] / next(iter(row.values())):.2f}×" for row in peaks.values()]
        lines.append("| " + " | ".join([n, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["show", "record"], default="show")
    args = parser.parse_args()
    start = time.time()
    peaks = measure()
    print(table(peaks))
    if args.what == "record":
        ledger.record(
            "benchmarks/supersample_memory", peaks, settings={"source": SOURCE, "batch": BATCH, "aim": AIM}, seeds=0,
            device="cpu", seconds=time.time() - start, n=BATCH,
            command="python benchmarks/supersample_memory.py record",
        )  # fmt: skip


if __name__ == "__main__":
    main()
