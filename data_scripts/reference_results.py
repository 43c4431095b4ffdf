"""The reference runs of the results page: the paper's Tables 3 and 4 on MNIST, its ablations, and mixtures of sources.

Each run is one seed of one setting: it draws its target images, mines (stage one only, last step, averaged weights),
judges 10,000 samples on held-out images, and becomes one ledger entry, NAME/seedS:

    table4/off-unconditional-9   digit 9 from mnist-no-9; on: from mnist-all; conditional: from mnist-cond-…
    ratio/0.3-max                digits 0 and 7 at 0.3:0.7 from mnist-only-06 and mnist-only-17 (Table 3; 1 in small)
    four/9                       digit 9 from four GANs, of the digits 06, 17, 23 and 45 (Table 1 in small)
    depth/4, init/paper, critic/fresh, critic/second
                                 ablations; what they change is table4/off-unconditional-9, or ratio/0.3-max for second
    longer/off-conditional-9     as table4/off-conditional-9, three times as long

What is recorded is skipped and what was interrupted goes on, so the same command can be repeated until everything is
there, or stopped at any time. Without arguments everything is run: some 270 runs of 1 to 6 CPU minutes. On an
accelerator, --jobs is how many seeds share it.

    python data_scripts/reference_results.py --list
    python data_scripts/reference_results.py --only table4/off-unconditional-9 ratio --seeds 0 1 2 --jobs 2
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from reference import mnist_target, recorded, run_all

from minegan_lite import evaluate, mine, zoo
from minegan_lite.chapters import ledger
from minegan_lite.metrics import digit_shares

IMAGES, SAMPLES, SEEDS = 1000, 10_000, (0, 1, 2, 3, 4)
RATIOS, PAIR = (0.3, 0.5, 0.7), (0, 7)
PAIR_SOURCES = ["mnist-only-06", "mnist-only-17"]
FOUR_SOURCES = [*PAIR_SOURCES, "mnist-only-23", "mnist-only-45"]
KEEP = (
    "sources", "source_sha256", "target", "target_sha256", "images", "preset", "steps", "batch", "critic_steps", "loss",
    "penalty", "precision", "miner_lr", "critic_lr", "betas", "hidden", "init", "objective", "critic_from", "ema_decay",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """One setting: what is mined, for what, and what differs from the library's defaults."""

    name: str
    sources: str | list[str]
    target: int | dict[int, float]
    options: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = SEEDS[:3]

    def sources_needed(self) -> list[str]:
        return [self.sources] if isinstance(self.sources, str) else self.sources


def experiments() -> list[Experiment]:
    """All of them; of the digits those first that the chapters mine."""
    found = []
    for kind, prefix in (("unconditional", "mnist-"), ("conditional", "mnist-cond-")):
        for manifold in ("off", "on"):
            for digit in (9, 5, 1, 0, 2, 3, 4, 6, 7, 8):
                source = prefix + (f"no-{digit}" if manifold == "off" else "all")
                found.append(Experiment(f"table4/{manifold}-{kind}-{digit}", source, digit, seeds=SEEDS))
    for ratio in RATIOS:
        for objective in ("max", "mean"):
            mix = {PAIR[0]: ratio, PAIR[1]: round(1 - ratio, 1)}
            found.append(Experiment(f"ratio/{ratio}-{objective}", PAIR_SOURCES, mix, {"objective": objective}))
    found += [Experiment(f"four/{digit}", FOUR_SOURCES, digit) for digit in (9, 8)]
    found += [Experiment(f"depth/{n}", "mnist-no-9", 9, {"hidden": (128,) * (n - 1)}) for n in (1, 4, 3, 5)]
    found += [Experiment("longer/off-conditional-9", "mnist-cond-no-9", 9, {"steps": 3000})]
    found += [Experiment("init/paper", "mnist-no-9", 9, {"init": "paper"})]
    found += [Experiment("critic/fresh", "mnist-no-9", 9, {"critic_from": "fresh"})]
    found += [Experiment("critic/second", PAIR_SOURCES, {0: 0.3, 7: 0.7}, {"critic_from": 1})]
    return found


def reference(what: Experiment, seed: int, steps: int, precision: str, device: str, out: Path) -> str:
    """One run, mined, judged and recorded; returns a line about it."""
    name = f"{what.name}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    target = mnist_target(what.target, IMAGES, seed)
    source = zoo.load(what.sources) if isinstance(what.sources, str) else zoo.load_all(what.sources)
    start = time.time()
    common = {"seed": seed, "steps": steps, "precision": precision, "device": device, "log_every": 100}
    mined = mine(source, target, out=out / name, progress=False, **{**common, **what.options})
    numbers = evaluate(mined, target, n=SAMPLES, seed=seed)
    numbers["digit_shares"] = digit_shares(zoo.load_classifier(), mined.sample(SAMPLES, seed=seed))
    numbers["error_while_mining"] = [[entry["step"], entry["metric"]] for entry in mined.history]
    if len(mined.sources) == 1:
        numbers["latent_length"] = mined.latents(SAMPLES, seed=seed)[1].norm(dim=1).mean().item()
    else:
        numbers["probabilities"] = mined.probabilities
        numbers["trace"] = mined.selector.trace()[:: max(1, len(mined.selector) // 60)].tolist()
        wins = mined.selector.wins()[-200:].double()
        numbers["last_200_minibatches"] = (wins.sum(0) / wins.sum()).tolist()
    ledger.record(
        name,
        numbers,
        settings={**{key: mined.record[key] for key in KEEP}, "tier": "full", "origin": target.origin},
        seeds=seed,
        device=mined.record["device"],
        seconds=time.time() - start,
        n=SAMPLES,
        command=f"python data_scripts/reference_results.py --only {what.name} --seeds {seed} --steps {steps}"
        f" --precision {precision}",
    )
    return f"{name}: {line(numbers)}, {time.time() - start:.0f} s"


def line(numbers: dict) -> str:
    """The numbers that tables will show, in short."""
    error, p = numbers["classifier_error"], numbers.get("probabilities", {})
    parts = [] if error is None else [f"error {error['value']:.2%}"]
    parts += [f"Fréchet {numbers['frechet']['value']:.1f}"]
    return ", ".join(parts + [f"{name} {value:.3f}" for name, value in p.items()])


def chosen(only: list[str] | None, seeds: list[int] | None) -> list[tuple[Experiment, int]]:
    """(experiment, seed) of those whose name starts with one of `only`, first seeds first."""
    known = experiments()
    if only and (unknown := [prefix for prefix in only if not any(e.name.startswith(prefix) for e in known)]):
        raise SystemExit(f"no experiment starts with {unknown[0]!r}: --list shows all")
    wanted = [e for e in known if not only or e.name.startswith(tuple(only))]
    of = {e.name: e.seeds if seeds is None else seeds for e in wanted}
    return [(e, seed) for seed in sorted({s for own in of.values() for s in own}) for e in wanted if seed in of[e.name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PREFIX", help="experiments whose names start so (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 to 4 for Table 4, 0 to 2 for the others")
    parser.add_argument("--steps", type=int, default=1000, help="mining steps (default %(default)s)")
    parser.add_argument("--precision", default="bf16", help="32, or bf16 (default) where the CPU has it")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/results"), help="run folders (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="run nothing: show what is recorded and what is pending")
    args = parser.parse_args()
    which = chosen(args.only, args.seeds)
    if args.list:
        for what, seed in which:
            before = recorded(f"{what.name}/seed{seed}")
            print(f"{what.name}/seed{seed}: {line(before) if before else 'pending'}")
        return
    missing = {name for what, _ in which for name in what.sources_needed() if name not in zoo.names()}
    if missing:
        print(f"not in the zoo yet, left out: {', '.join(sorted(missing))}", flush=True)
    there = [(what, seed) for what, seed in which if not missing & set(what.sources_needed())]
    run_all(reference, [(*one, args.steps, args.precision, args.device, args.out) for one in there], args.jobs)


if __name__ == "__main__":
    main()
