"""Every method of minegan_lite.transfer under one protocol: methods × numbers of target images × seeds, on MNIST.

Two experiments, whose results are ledger entries NAME/METHOD-IMAGES/seedS:

    baselines        digit 9 from mnist-no-9, which never saw one; 25, 100, 1000 images (also 10 and 300 on request)
    baselines-uci    the nines of another data set, scikit-learn's UCI digits, from mnist-all; 25 and 100 images

All methods have the same images by seed, as many updates, minibatches and critic steps, averaged weights, and the same
judges: held-out images, equally many fakes, the last step. Learning rates are each method's own: the best of three, a
factor of three apart, or of more while the best is the last on its side, with the 100 target images of seed 0, by the
Fréchet distance to 1000 other training-split nines; --tune measures that and records it as tuning/METHOD (of bsa also
how far its latents reach). No held-out image is looked at for it. But the images that the rates were chosen with and by
are targets, too: the 100 are the target of seed 0, and hold that of 25 images; of the 1000, 900 are in seed 0's target
of 1000 images, and a sixth of them in that of each other seed.

What is recorded is skipped and what was interrupted goes on.

    python data_scripts/baselines.py --tune
    python data_scripts/baselines.py --methods scratch minegan --images 25 --seeds 0 1 2 --jobs 2
    python data_scripts/baselines.py --list
"""

import argparse
import shutil
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from reference import mnist_target, recorded, run_all

from minegan_lite import FewShot, few_shot, zoo
from minegan_lite.chapters import ledger
from minegan_lite.metrics import (
    Measurement,
    digit_features,
    evaluate,
    kmmd,
    mean_variance,
    measure,
    neighbour_accuracy,
    signature,
    training_ratio,
)
from minegan_lite.mined import Mined
from minegan_lite.transfer import METHODS, adapt, bsa

DIGIT, SAMPLES, DRAWS = 9, 5_200, 100
SOURCES = {"baselines": "mnist-no-9", "baselines-uci": "mnist-all"}
IMAGES = {"baselines": (25, 100, 1000), "baselines-uci": (25, 100)}
SEEDS = (0, 1, 2)
TRUNCATIONS = (0.3, 0.5, 1.0)
# What --tune multiplies: the learning rate of what draws the images.
RATES = {
    "scratch": {"generator_lr": 1e-3},
    "transfergan": {"generator_lr": 3e-4},
    "freezed": {"generator_lr": 3e-4},
    "bsa": {"generator_lr": 0.03},
    "vae": {"generator_lr": 1e-3},
    "minegan-nofinetune": {"miner_lr": 1e-3},
    "minegan": {"generator_lr": 3e-4},
}
COMMON = {"batch": 64, "sample_average": True, "ema_decay": 0.999}
WITH_CRITIC = {"critic_lr": 1e-3, "critic_steps": 1, "penalty": 10.0, "betas": (0.5, 0.9)}
MINING = {"preset": "default"}
KEEP = (
    "sources", "source_sha256", "target", "target_sha256", "images", "preset", "steps", "batch", "precision", "loss",
    "generator_lr", "miner_lr", "critic_lr", "critic_steps", "penalty", "betas", "ema_decay", "kept", "truncation",
)  # fmt: skip


def options(method: str, factor: float) -> dict[str, Any]:
    """The protocol's settings of a method at a multiple of its learning rate."""
    rates = {name: rate * factor for name, rate in RATES[method].items()}
    critic = {} if method in ("bsa", "vae") else WITH_CRITIC
    return COMMON | critic | (MINING if "minegan" in method else {}) | rates


def tuned(method: str) -> tuple[float, float | None]:
    """The factor that --tune found for a method's learning rate, and for bsa the truncation."""
    if (numbers := recorded(f"tuning/{method}")) is None:
        raise SystemExit(f"tuning/{method} is not recorded yet: run --tune first")
    return numbers["factor"], numbers.get("truncation")


def tune(method: str, steps: int, precision: str, device: str, out: Path) -> str:
    """A method's learning rate, by the rule above, with the 100 target images of seed 0."""
    name = f"tuning/{method}"
    if before := recorded(name):
        return f"{name}: recorded before, factor {before['factor']:.2f}"
    torch.set_num_threads(1)
    start = time.time()
    both = mnist_target(DIGIT, 1100, seed=0)
    target = replace(both, train=both.train[:100], held_out=both.train[100:], request=None)
    tried, powers = [], [-1, 0, 1]
    for power in powers:  # grows on the side where the best is the last, to six at most
        factor = 3.0**power
        mined = adapt(
            method, zoo.load(SOURCES["baselines"]), target, steps=steps, seed=0, precision=precision, device=device,
            progress=False, out=out / f"tuning-{method}-{factor:.2f}", log_every=steps, **options(method, factor),
        )  # fmt: skip
        for truncation in TRUNCATIONS if method == "bsa" else (None,):
            numbers = evaluate(_cut(mined, truncation), target, n=SAMPLES, seed=0)
            tried.append({"factor": factor, "truncation": truncation, "frechet": numbers["frechet"]["value"]})
        best = min(tried, key=lambda row: row["frechet"])
        if power == powers[-1] and len(powers) < 6:
            if best["factor"] == 3.0 ** max(powers):
                powers.append(max(powers) + 1)
            elif best["factor"] == 3.0 ** min(powers):
                powers.append(min(powers) - 1)
    numbers = {"factor": best["factor"], "tried": tried}
    ledger.record(
        name,
        numbers | ({"truncation": best["truncation"]} if method == "bsa" else {}),
        settings={**options(method, best["factor"]), "steps": steps, "images": 100, "tier": "full", "origin": "mnist"},
        seeds=0, device=mined.record["device"], seconds=time.time() - start, n=SAMPLES,
        command=f"python data_scripts/baselines.py --tune --methods {method} --steps {steps} --precision {precision}",
    )  # fmt: skip
    shown = ", ".join(f"{row['factor']:.2f}/{row['truncation']} {row['frechet']:.1f}" for row in tried)
    return f"{name}: {shown}, {time.time() - start:.0f} s"


def reference(
    experiment: str, method: str, images: int, seed: int, steps: int, precision: str, device: str, out: Path
) -> str:
    """One run: adapted, judged and recorded; returns a line about it."""
    name = f"{experiment}/{method}-{images}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    start = time.time()
    target = target_of(experiment, images, seed)
    folder = out / name.replace("/", "-")
    factor, truncation = tuned(method)
    own = {"truncation": truncation} if method == "bsa" else {}
    mined = adapt(
        method, zoo.load(SOURCES[experiment]), target, steps=steps, seed=seed, precision=precision, device=device,
        progress=False, out=folder, log_every=100, **options(method, factor), **own,
    )  # fmt: skip
    numbers = judged(mined, target, seed)
    if method == "bsa":
        numbers["by_truncation"] = {f"{cut:g}": varied(_cut(mined, cut), target, seed) for cut in TRUNCATIONS}
    ledger.record(
        name,
        numbers,
        settings={
            **{key: mined.record[key] for key in KEEP if key in mined.record},
            "method": method, "factor": factor, "tier": "full", "origin": target.origin,
        },
        seeds=seed, device=mined.record["device"], seconds=time.time() - start, n=SAMPLES,
        command=f"python data_scripts/baselines.py --experiments {experiment} --methods {method} --images {images}"
        f" --seeds {seed} --steps {steps} --precision {precision}",
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)  # the weights are not needed any more
    return f"{name}: {line(numbers)}, {time.time() - start:.0f} s"


def judged(mined: Mined, target: FewShot, seed: int) -> dict[str, Any]:
    """Everything that is measured of a result, on held-out images, and how near it comes to its training images."""
    judge = zoo.load_classifier()
    rng = torch.Generator().manual_seed(seed)
    fakes = mined.sample(SAMPLES, seed=seed)
    real, fake, train = (digit_features(images, judge) for images in (target.held_out, fakes, target.train))
    sides = {"real": real, "fake": fake, "rng": rng, "signature": signature(judge), "draws": DRAWS}
    blocks = [neighbour_accuracy(train, block) for block in fake.split(len(train)) if len(block) == len(train)]
    ratio = training_ratio(fakes[: len(target.held_out)], target.train, target.held_out)
    return {
        "evaluation": evaluate(mined, target, n=SAMPLES, seed=seed),
        "kmmd": stated(measure(kmmd, **sides)),
        "mean_variance": stated(measure(mean_variance, **sides)),
        "neighbours_of_training_images": {
            "real": sum(one.real for one in blocks) / len(blocks),
            "fake": sum(one.fake for one in blocks) / len(blocks),
            "n": len(train),
            "blocks": len(blocks),
        },
        "training_ratio": {"ratio": ratio.ratio, "share": ratio.share},
        "error_while_training": [[entry["step"], entry["metric"]] for entry in mined.history],
    }


def varied(mined: Mined, target: FewShot, seed: int) -> dict[str, Any]:
    """How good and how varied, alone."""
    judge = zoo.load_classifier()
    real, fake = (digit_features(x, judge) for x in (target.held_out, mined.sample(SAMPLES, seed=seed)))
    return {"evaluation": evaluate(mined, target, n=SAMPLES, seed=seed), "mean_variance": mean_variance(real, fake)}


def stated(measurement: Measurement) -> dict[str, Any]:
    """A Measurement as JSON holds it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(measurement).items()}


def target_of(experiment: str, images: int, seed: int) -> FewShot:
    """The images of a seed, with all held-out ones."""
    if experiment == "baselines":
        return mnist_target(DIGIT, images, seed)
    return few_shot("uci-digits", digit=DIGIT, n=images, seed=seed)


def line(numbers: dict) -> str:
    """The numbers that the chapter shows, in short."""
    shown = numbers["evaluation"]
    return (
        f"error {shown['classifier_error']['value']:.1%}, Fréchet {shown['frechet']['value']:.1f} "
        f"(floor {shown['frechet']['floor']:.1f}), coverage {shown['coverage']['value']:.2f}, "
        f"KMMD {numbers['kmmd']['value']:.3f} (floor {numbers['kmmd']['floor']:.3f}), "
        f"1-NN of training images {numbers['neighbours_of_training_images']['real']:.2f}"
    )


def _cut(mined: Mined, truncation: float | None) -> Mined:
    return mined if truncation is None else bsa.truncated(mined, truncation)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="find the learning rates instead")
    parser.add_argument("--experiments", nargs="+", default=list(SOURCES), choices=list(SOURCES))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--images", nargs="+", type=int, help="default: 25, 100, 1000; of UCI digits 25 and 100")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=1000, help="updates of the generator (default %(default)s)")
    parser.add_argument("--precision", default="bf16", help="32, or bf16 (default) where the CPU has it")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/baselines"), help="run folders (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="run nothing: show what is recorded and what is pending")
    args = parser.parse_args()
    common = (args.steps, args.precision, args.device, args.out)
    if args.tune:
        run_all(tune, [(method, *common) for method in args.methods], args.jobs)
        return
    which = [
        (experiment, method, images, seed)
        for experiment in args.experiments
        for seed in args.seeds
        for images in args.images or IMAGES[experiment]
        for method in args.methods
    ]
    if args.list:
        for experiment, method, images, seed in which:
            before = recorded(name := f"{experiment}/{method}-{images}/seed{seed}")
            print(f"{name}: {line(before) if before else 'pending'}")
        return
    run_all(reference, [(*one, *common) for one in which], args.jobs)


if __name__ == "__main__":
    main()
