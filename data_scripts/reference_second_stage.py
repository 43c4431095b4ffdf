"""The reference runs of the chapter *the second stage*: what fine-tuning adds to mining, and when it memorises.

For each digit D (mined from mnist-no-D), number of target images and seed: stage one for STEPS steps; from there stage
two for TUNE steps; and, so that both had equally many, stage one for STEPS + TUNE steps. All three are judged on
held-out images with 5,200 samples (ten blocks of half of them), last step, averaged weights, and recorded as one ledger
entry, finetune/D-IMAGES/seedS. What is recorded is skipped and what was interrupted goes on.

    python data_scripts/reference_second_stage.py --digits 9 5 2 --images 1000 100 --jobs 2
    python data_scripts/reference_second_stage.py --digits 9 --images 10 --jobs 2
"""

import argparse
import time
from pathlib import Path

import torch
from reference import mnist_target, recorded, run_all

from minegan_lite import evaluate, finetune, mine, zoo
from minegan_lite.chapters import ledger, runner

KEEP = (
    "sources", "source_sha256", "target_sha256", "images", "preset", "batch", "critic_steps", "loss", "penalty",
    "precision", "miner_lr", "critic_lr", "generator_lr", "betas", "init", "ema_decay",
)  # fmt: skip


def reference(digit: int, images: int, seed: int, precision: str, device: str, out: Path) -> str:
    """One triple of runs, judged and recorded; returns a line about it."""
    name = f"finetune/{digit}-{images}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    full = runner.tier("second_stage", "full")
    gan, target = zoo.load(f"mnist-no-{digit}"), mnist_target(digit, images, seed)
    start = time.time()
    common = {"seed": seed, "precision": precision, "device": device, "progress": False}
    first = mine(gan, target, steps=full["steps"], out=out / f"{name}-one", **common)
    longer = mine(gan, target, steps=full["steps"] + full["tune_steps"], out=out / f"{name}-longer", **common)
    tuned = finetune(first, target, steps=full["tune_steps"], out=out / f"{name}-two", **common)
    runs = {"stage_one": first, "stage_one_longer": longer, "stage_two": tuned}
    numbers = {key: evaluate(mined, target, n=full["samples"], seed=seed) for key, mined in runs.items()}
    ledger.record(
        name,
        numbers,
        settings={
            **{key: (first.record | tuned.record)[key] for key in KEEP},
            "tier": "full",
            "origin": target.origin,
            "steps": full["steps"],
            "tune_steps": full["tune_steps"],
        },
        seeds=seed,
        device=tuned.record["device"],
        seconds=time.time() - start,
        n=full["samples"],
        command=f"python data_scripts/reference_second_stage.py --digits {digit} --images {images} --seeds {seed}"
        f" --precision {precision}",
    )
    return f"{name}: {line(numbers)}, {time.time() - start:.0f} s"


def line(numbers: dict) -> str:
    """Error, Fréchet distance, coverage and copying of each run."""
    return "; ".join(
        f"{key} {row['classifier_error']['value']:.1%} {row['frechet']['value']:.1f} {row['coverage']['value']:.2f} "
        f"{row['copying']['value']:.2f}"
        for key, row in numbers.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", nargs="+", type=int, default=[9, 5, 2])
    parser.add_argument("--images", nargs="+", type=int, default=[1000, 100])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--precision", default="bf16", help="32, or bf16 (default) where the CPU has it")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/second_stage"), help="run folders (default %(default)s)")
    args = parser.parse_args()
    which = [(digit, n, seed) for seed in args.seeds for n in args.images for digit in args.digits]
    run_all(reference, [(*one, args.precision, args.device, args.out) for one in which], args.jobs)


if __name__ == "__main__":
    main()
