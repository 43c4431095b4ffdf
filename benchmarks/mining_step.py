"""What a mining step costs, and what saving on it costs in quality; also sampling and import times, as ratios.

`time` runs every idea in turn, many rounds in one process, and takes CPU seconds, so that a busy machine does not
favour any; the ratios are to `textbook`, a plain WGAN-GP mining loop written below. All is float32 but for the ideas
that say bfloat16, whatever the processor has. `error` mines digit 9 from
mnist-no-9 with every idea and seed and judges it by *training-split* nines outside that run's target: defaults are
chosen by this table, so no held-out image may enter it. What is measured is skipped when the command is repeated.

    python benchmarks/mining_step.py time
    python benchmarks/mining_step.py error --jobs 2     # about an hour on two cores
    python benchmarks/mining_step.py record             # both into the ledger, as benchmarks/mining_step
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from minegan_lite import GAN, FewShot, Miner, data, evaluate, few_shot, losses, mine, zoo
from minegan_lite.chapters import ledger
from minegan_lite.files import write_atomically
from minegan_lite.mined import Mined, Unmined
from minegan_lite.nn import averaged, clone, stream
from minegan_lite.selector import Selector

SOURCE, DIGIT, IMAGES, STEPS, SAMPLES, SEEDS = "mnist-no-9", 9, 1000, 600, 10_000, range(5)
TEXTBOOK_CRITIC_STEPS = 3


def textbook(gan: GAN, images: Tensor, steps: int, seed: int, *, one_forward=False, layout=False, fused=False):
    """A WGAN-GP mining loop as one would write it down, with the library's learning rates; (miner, average, critic).

    one_forward, layout, fused: real and fake through the critic in one batch; its weights channels-last; one fused
    kernel for Adam.
    """
    rng = stream("mine", seed)
    dim = gan.generator.latent_dim
    miner, critic = Miner((dim, dim, dim), rng=rng), clone(gan.critic).requires_grad_(True)
    if layout:
        critic.to(memory_format=torch.channels_last)
    generator, average = gan.generator.requires_grad_(False), averaged(miner)
    miner_optimizer = torch.optim.Adam(miner.parameters(), lr=1e-3, betas=(0.5, 0.9), fused=fused)
    critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9), fused=fused)
    for _ in range(steps):
        for _ in range(TEXTBOOK_CRITIC_STEPS):
            real = images[torch.randint(len(images), (64,), generator=rng)]
            with torch.no_grad():
                fake = generator(miner(torch.randn(64, dim, generator=rng)))
            if one_forward:
                fake_scores, real_scores = critic(torch.cat([fake, real])).chunk(2)
            else:
                fake_scores, real_scores = critic(fake), critic(real)
            alpha = torch.rand(64, 1, 1, 1, generator=rng)
            between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            loss = fake_scores.mean() - real_scores.mean() + 10 * penalty
            critic_optimizer.zero_grad()
            loss.backward()
            critic_optimizer.step()
        loss = -critic(generator(miner(torch.randn(64, dim, generator=rng)))).mean()
        miner_optimizer.zero_grad()
        loss.backward()
        miner_optimizer.step()
        average.update_parameters(miner)
    return miner, average.module, critic


def double_backward(critic: nn.Module, x: Tensor) -> Tensor:
    """∇ₓD(x) by autograd, which the penalty's own gradient then differentiates a second time."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]


class Lazy:
    """The penalty at every `every`-th critic step only, as many times stronger (Karras et al. 2020, Sec. 3.1)."""

    def __init__(self, every: int):
        self.every, self.calls = every, -1

    def __call__(self, critic: nn.Module, real: Tensor, fake: Tensor, rng: torch.Generator) -> Tensor:
        self.calls += 1
        return self.every * _every_time(critic, real, fake, rng) if self.calls % self.every == 0 else torch.zeros(())


_every_time = losses.gradient_penalty


def lazily(every: int) -> AbstractContextManager:
    """Inside, mining's loss has a Lazy penalty."""
    return patch.dict(losses.LOSSES, {"wgan-gp": losses.LOSSES["wgan-gp"]._replace(penalty=Lazy(every))})


# name → the library's options, and inside of what it is run; or the textbook's options. `same` names the idea that it
# differs from in rounding only (tested), so that one error stands for both.
IDEAS: dict[str, dict] = {
    "textbook": {"textbook": {}},
    "textbook, one critic forward": {"textbook": {"one_forward": True}, "same": "textbook"},
    "textbook, fused Adam": {"textbook": {"fused": True}, "same": "textbook"},
    "textbook, channels-last critic": {"textbook": {"layout": True}, "same": "textbook"},
    "library, 3 critic steps": {"options": {"critic_steps": 3}, "same": "textbook"},
    "library, double backward": {"inside": lambda: patch.object(losses, "input_gradient", double_backward)},
    "library": {"same": "library, double backward"},
    "library, lazy penalty (every 4th)": {"inside": lambda: lazily(4)},
    "library, bfloat16": {"options": {"precision": "bf16"}},
}
MEASURED = [name for name, what in IDEAS.items() if "same" not in what]


def run(idea: str, gan: GAN, images: Tensor, steps: int, seed: int) -> Mined:
    """`steps` mining steps by one idea."""
    what = IDEAS[idea]
    if "textbook" in what:
        miner, average, critic = textbook(gan, images, steps, seed, **what["textbook"])
        kept = (nn.ModuleList([one]) for one in (average, gan.generator))
        return Mined([gan], nn.ModuleList([miner]), critic, *kept, Selector(1), {"sample_average": True})
    with what.get("inside", nullcontext)():
        # no logging on the way, which the textbook's loop has not either
        options = {"log_every": steps, "device": "cpu", "progress": False, "precision": "32", **what.get("options", {})}
        return mine(gan, images, steps=steps, seed=seed, **options)


def ratios(functions: dict[str, Callable[[], object]], base: str, rounds: int, clock=time.process_time) -> dict:
    """The time of each function over that of `base` in the same round: median and quartiles over the rounds."""
    seconds = {name: [] for name in functions}
    for name in functions:
        functions[name]()  # once to warm up
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    table = {}
    for name, values in seconds.items():
        each = [b / a for a, b in zip(seconds[base], values, strict=True)]
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
        table[name] = {"median": middle, "low": low, "high": high, "seconds": statistics.median(values)}
    return table


def measure_time(rounds: int, steps: int) -> dict:
    """All timings. Step and sampling: CPU seconds of one thread. Import: wall time of fresh processes."""
    torch.set_num_threads(1)
    gan, images = zoo.load(SOURCE), few_shot("mnist", digit=DIGIT, n=IMAGES, seed=0).train
    step = ratios({name: lambda name=name: run(name, gan, images, steps, 0) for name in IDEAS}, "textbook", rounds)
    for row in step.values():
        row["seconds"] /= steps
    mined, raw = run("library", gan, images, 1, 0), Unmined(gan)
    sampling = ratios({"raw": lambda: raw.sample(1000), "mined": lambda: mined.sample(1000)}, "raw", 5 * rounds)

    def importing(module: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    both = {name: importing(name) for name in ("torch", "minegan_lite")}
    imports = ratios(both, "torch", rounds, time.perf_counter)
    return {"step": step, "sampling": sampling, "import": imports, "rounds": rounds, "steps": steps}


def measure_error(idea: str, seed: int, folder: Path) -> str:
    """One mining run by one idea, judged; returns a line about it."""
    path = folder / f"{idea.replace(' ', '-').replace(',', '')}-seed{seed}.json"
    if not path.exists():
        torch.set_num_threads(1)
        gan, target = zoo.load(SOURCE), few_shot("mnist", digit=DIGIT, n=IMAGES, seed=seed)
        start = time.process_time()
        mined = run(idea, gan, target.train, STEPS, seed)
        seconds = time.process_time() - start
        numbers = evaluate(mined, others(target), n=SAMPLES, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"idea": idea, "seed": seed, "seconds": seconds, **numbers}).encode())
    row = json.loads(path.read_text())
    return f"{idea}, seed {seed}: error {row['classifier_error']['value']:.2%}, Fréchet {row['frechet']['value']:.1f}"


def others(target: FewShot) -> FewShot:
    """The target with the rest of its digit's training split in the place of the held-out images."""
    images, labels = data.load_mnist("train")
    ours = {image.numpy().tobytes() for image in target.train}
    rest = [image for image in data.to_signed(images[labels == DIGIT]) if image.numpy().tobytes() not in ours]
    return replace(target, held_out=torch.stack(rest))


def interval(values: list[float]) -> dict:
    """Mean, sd and the 95 % interval of the mean (Student's t for 5 values)."""
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return {"mean": mean, "sd": sd, "half_width": 2.776 * sd / len(values) ** 0.5, "values": values}


def record(folder: Path) -> Path:
    """Timings and errors as one result of the ledger."""
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*-seed*.json"))]
    errors = {}
    for idea in MEASURED:
        own = sorted((row for row in rows if row["idea"] == idea), key=lambda row: row["seed"])
        if [row["seed"] for row in own] != list(SEEDS):
            raise SystemExit(f"not measured for every seed yet: {idea}")
        keys = ("classifier_error", "frechet", "coverage")
        errors[idea] = {key: interval([row[key]["value"] for row in own]) for key in keys}
    times = json.loads((folder / "time.json").read_text())
    frechet = rows[0]["frechet"]
    settings = {
        "source": SOURCE, "digit": DIGIT, "images": IMAGES, "steps": STEPS, "samples": SAMPLES,
        "reals": "training-split nines outside the target", "frechet_n": frechet["n"], "frechet_m": frechet["m"],
        "frechet_floor": statistics.fmean(row["frechet"]["floor"] for row in rows),
    }  # fmt: skip
    seconds = sum(row["seconds"] for row in rows)
    return ledger.record(
        "benchmarks/mining_step", {"time": times, "error": errors}, settings=settings, seeds=SEEDS, device="cpu",
        seconds=seconds, n=SAMPLES, command="python benchmarks/mining_step.py record",
    )  # fmt: skip


def table(result: dict) -> str:
    """The result as a Markdown table."""
    lines = [
        "| idea | CPU time of a step over the textbook's (quartiles) | classifier error | Fréchet distance |",
        "|---|---|---|---|",
    ]
    for idea, row in result["numbers"]["time"]["step"].items():
        cells = [f"as *{IDEAS[idea].get('same')}*"] * 2
        if measured := result["numbers"]["error"].get(idea):
            error, distance = measured["classifier_error"], measured["frechet"]
            cells = [
                f"{error['mean']:.1%} ± {error['half_width']:.1%}",
                f"{distance['mean']:.0f} ± {distance['half_width']:.0f}",
            ]
        ratio = f"{row['median']:.2f} ({row['low']:.2f}–{row['high']:.2f}), {1 / row['median']:.1f}× as fast"
        lines.append("| " + " | ".join([idea, ratio, *cells]) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["time", "error", "record"])
    parser.add_argument("--ideas", nargs="+", default=list(IDEAS), choices=list(IDEAS), metavar="IDEA")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--rounds", type=int, default=9, help="timed rounds (default %(default)s)")
    parser.add_argument("--steps", type=int, default=12, help="mining steps in a timed round (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/mining_step"), help="folder (default %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.what == "time":
        times = measure_time(args.rounds, args.steps)
        write_atomically(args.out / "time.json", json.dumps(times).encode())
        print(json.dumps(times, indent=1))
    elif args.what == "error":
        ideas = [idea for idea in args.ideas if idea in MEASURED]
        with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
            jobs = [pool.submit(measure_error, idea, seed, args.out) for seed in args.seeds for idea in ideas]
            for job in jobs:
                print(job.result(), flush=True)
    else:
        record(args.out)
        print(table(ledger.read("benchmarks/mining_step")))


if __name__ == "__main__":
    main()
