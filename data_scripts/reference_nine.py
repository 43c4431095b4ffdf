"""The reference runs of the chapter *off-manifold digits*: mines nines from mnist-no-9 and records them in the ledger.

A seed draws the 1000 target images and steers the mining; stage one only, last step, no selection; 10,000 samples are
judged. Each (tier, seed) is one run folder and one ledger entry, nine/TIER/seedS, or nine/TIER-INIT-init/seedS for
another initialisation of the miner. What is recorded is skipped and what was interrupted goes on, so the same
command can be repeated until everything is there.

    python data_scripts/reference_nine.py --tier reader full --jobs 2
    python data_scripts/reference_nine.py --tier reader --init paper --jobs 2
"""

import argparse
import time
from pathlib import Path

import torch
from reference import mnist_target, recorded, run_all

from minegan_lite import evaluate, mine, zoo
from minegan_lite.chapters import ledger, runner
from minegan_lite.files import STATE, read_state
from minegan_lite.miner import INITS

SAMPLES = 10_000
KEEP = (
    "sources", "source_sha256", "target_sha256", "images", "preset", "steps", "batch", "critic_steps", "loss",
    "penalty", "precision", "miner_lr", "critic_lr", "betas", "init",
)  # fmt: skip


def reference(tier: str, seed: int, init: str | None, device: str, out: Path) -> str:
    """One run, mined and recorded; returns a line about it."""
    kind = tier if init is None else f"{tier}-{init}-init"
    name = f"nine/{kind}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, error {before['classifier_error']['value']:.3%}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    wanted = runner.tier("off_manifold_digits", tier)
    target = mnist_target(9, wanted["images"], seed)
    resumed = read_state(out / name)["step"] if (out / name / STATE).exists() else 0
    start = time.time()
    options = {"steps": wanted["steps"], "seed": seed} | ({} if init is None else {"init": init})
    mined = mine(zoo.load("mnist-no-9"), target, out=out / name, device=device, progress=False, **options)
    seconds = time.time() - start
    numbers = evaluate(mined, target, n=SAMPLES, seed=seed)
    curve = [[entry["step"], entry["metric"]] for entry in mined.history]
    settings = {key: mined.record[key] for key in KEEP}
    ledger.record(
        name,
        {**numbers, "error_while_mining": curve},
        settings={**settings, "tier": tier, "origin": target.origin, "resumed_at_step": resumed},
        seeds=seed,
        device=mined.record["device"],
        seconds=seconds,
        n=SAMPLES,
        command=f"python data_scripts/reference_nine.py --tier {tier} --seeds {seed}"
        + ("" if init is None else f" --init {init}"),
    )
    shown = {key: round(numbers[key]["value"], 4) for key in ("classifier_error", "frechet", "coverage")}
    return f"{name}: {shown}, {seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", nargs="+", default=["reader"], choices=["reader", "full"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--init", choices=sorted(INITS), help="of the miner (default: the library's)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/reference"), help="run folders (default %(default)s)")
    args = parser.parse_args()
    which = [(tier, seed, args.init, args.device, args.out) for tier in args.tier for seed in args.seeds]
    run_all(reference, which, args.jobs)


if __name__ == "__main__":
    main()
