"""The reference runs of the chapters on faces: what is mined from the published generators, judged and recorded.

Five experiments; each run is one ledger entry EXPERIMENT/RUN/seedS:

    faces           a source and a kind of target, mined with the library's defaults, and the source itself (…-unmined)
    faces-sizes     every method at 25, 100 and 1000 images: women from celeba-dcgan-64 (the paper's Fig. 5)
    faces-forms     miners that stay on the shell of the prior, on and off the manifold; the plain ones are in faces
    faces-longer    the slower miner, four times as long: how far it comes
    faces-critic    which critic mining starts from: a fresh one, another source's; the taught ones are in faces

Targets are real pictures: CelebA's women, UTKFace's women and seniors, from the zips in $MINEGAN_DATA (default
../shared/data). A fixed part of each zip is held out and judges; a seed draws the target from the others. All methods
make as many updates, with the same minibatches and averages. Learning rates are each method's own (faces-tuning): the
best of three a factor of three apart, or of more while the best is the last on its side, by KID to training-split
women outside of the target. The number of steps was
chosen likewise. The judge of attributes (metrics.attributes) chooses nothing.

What is recorded is skipped and what was interrupted goes on.

    python data_scripts/reference_faces.py --list
    python data_scripts/reference_faces.py --tune
    python data_scripts/reference_faces.py --experiments faces faces-sizes --seeds 0 1 2 --jobs 2
"""

import argparse
import functools
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from reference import recorded, run_all
from source_pictures import load_pictures
from torch import Tensor

from minegan_lite import FewShot, Unmined, evaluate, load_gan, mine
from minegan_lite.chapters import ledger
from minegan_lite.data import to_signed
from minegan_lite.data.download import cache_folder
from minegan_lite.metrics import features_of, kid, kmmd, lite0, mean_variance, measure, precision, signature
from minegan_lite.metrics.attributes import face_attributes
from minegan_lite.transfer import adapt

STEPS, BATCH, MOST, JUDGED, DRAWS = 400, 32, 1000, 600, 50
WOMEN, SENIORS = "celeba-women", "utkface-seniors"
# {target: the zip, which of its pictures, how many are held out}
TARGETS: dict[str, dict[str, Any]] = {
    WOMEN: {"zip": "celeba_64.zip", "where": {"Male": 0}, "held_out": 1000, "attribute": "woman"},
    "utkface-women": {
        "zip": "utkface_targets_64.zip", "where": {"group": "women"}, "held_out": 900, "attribute": "woman",
    },
    SENIORS: {"zip": "utkface_targets_64.zip", "where": {"group": "seniors"}, "held_out": 900, "attribute": "senior"},
}  # fmt: skip
TIGHT = "celeba-dcgan-64-tight"
PAIRS = [  # (source, target): framed alike
    ("celeba-dcgan-64", WOMEN), (TIGHT, "utkface-women"), (TIGHT, SENIORS),
    ("digiface-dcgan-64", "utkface-women"), ("digiface-dcgan-64", SENIORS),
]  # fmt: skip
METHODS = ("minegan", "minegan-nofinetune", "transfergan", "freezed", "scratch")
SIZES = (25, 100, 1000)
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "shell": {"shell": True},
    "residual": {"residual": True},
    "residual-0.1": {"residual": True, "shift_penalty": 0.1},
    "residual-1": {"residual": True, "shift_penalty": 1.0},
    "slow": {"miner_lr": 3e-4},
}
CRITICS = ("fresh", "other")
# What --tune multiplies by thirds and threes; the miner's and the critic's rates are the library's.
RATES = {"minegan": 3e-5, "transfergan": 3e-5, "freezed": 3e-5, "scratch": 3e-4}
COMMON = {"batch": BATCH, "sample_average": True, "ema_decay": 0.999, "precision": "bf16"}
WITH_CRITIC = {"critic_lr": 1e-3, "critic_steps": 1, "penalty": 10.0, "betas": (0.5, 0.9), "loss": "wgan-gp"}
KEEP = (
    "sources", "source_sha256", "target", "target_sha256", "images", "preset", "steps", "batch", "precision", "loss",
    "generator_lr", "miner_lr", "critic_lr", "critic_steps", "penalty", "betas", "ema_decay", "kept", "residual",
    "shell", "shift_penalty", "critic_from",
)  # fmt: skip


@functools.cache
def pictures(name: str, side: int) -> tuple[Tensor, Tensor]:
    """The pictures of a kind, (n, 3, side, side) in [−1, 1], and the held-out ones."""
    root = Path(os.environ.get("MINEGAN_DATA", "../shared/data"))
    spec = {key: value for key, value in TARGETS[name].items() if key != "attribute"}
    found = load_pictures(spec, side, root, cache_folder() / "pictures")
    return to_signed(found.train), to_signed(found.held_out)


@functools.cache
def of_held_out(name: str, side: int) -> tuple[Tensor, Tensor]:
    """Lite0's features of the held-out pictures of a kind, and their attributes' probabilities."""
    held_out = pictures(name, side)[1]
    return features_of(held_out, lite0()), face_attributes()(held_out)


def target_of(name: str, side: int, images: int, seed: int) -> FewShot:
    """`images` pictures of a kind, or all that there are, drawn by the seed, and those held out."""
    train, held_out = pictures(name, side)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    return FewShot(train[order[:images]], held_out, name, None, "folder", seed)


def runs(experiment: str) -> list[str]:
    """The runs of an experiment, without their seeds."""
    if experiment == "faces":
        return [f"{source}-{target}{kind}" for source, target in PAIRS for kind in ("", "-unmined")]
    if experiment == "faces-sizes":
        return [f"{method}-{images}" for images in SIZES for method in METHODS]
    if experiment == "faces-forms":
        return [f"{target}-{form}" for target in (SENIORS, WOMEN) for form in FORMS if form != "plain"]
    if experiment == "faces-longer":
        return [f"{target}-slow" for target in (WOMEN, SENIORS)]
    return [f"{target}-{critic}" for target in (WOMEN, SENIORS) for critic in CRITICS]


def mined_of(experiment: str, run: str, seed: int, steps: int, folder: Path, device: str) -> tuple[Any, FewShot]:
    """What a run gives, adapted or gone on with in its folder, and its target."""
    course: dict[str, Any] = {"out": folder, "device": device, "progress": False, "log_every": 50}
    common = {"steps": 4 * steps if experiment == "faces-longer" else steps, "seed": seed, **COMMON}
    if experiment == "faces-sizes":
        method, _, images = run.rpartition("-")
        gan = load_gan("celeba-dcgan-64")
        target = target_of(WOMEN, 64, int(images), seed)
        rates = {"generator_lr": tuned(method)} if method in RATES else {}
        own = {"preset": "default"} if "minegan" in method else {}
        return adapt(method, gan, target, **common, **WITH_CRITIC, **rates, **own, **course), target
    options: dict[str, Any] = {}
    if experiment == "faces":
        source, name = next(pair for pair in PAIRS if run.removesuffix("-unmined") == "-".join(pair))
    else:
        name = next(one for one in TARGETS if run.startswith(one))
        source = "celeba-dcgan-64" if name == WOMEN else TIGHT
    gan = load_gan(source)
    target = target_of(name, gan.generator.image_shape[1], MOST, seed)
    if run.endswith("-unmined"):
        return Unmined(gan), target
    if experiment in ("faces-forms", "faces-longer"):
        options = FORMS[run.removeprefix(f"{name}-")]
    if experiment == "faces-critic":
        kind = run.removeprefix(f"{name}-")
        if kind == "fresh":
            options = {"critic_from": "fresh"}
        elif kind == "other":
            gan = replace(gan, critic=other_critic(gan.generator.image_shape))
    return mine(gan, target, **common, **options, **course), target


def other_critic(image_shape: tuple[int, int, int]) -> torch.nn.Module:
    """Another source's critic for images of this shape: that of the rendered faces, at its own 64×64 or enlarged to."""
    critic = load_gan("digiface-dcgan-64").critic
    return critic if image_shape[1] == 64 else Enlarging(critic)


class Enlarging(torch.nn.Module):
    """A critic of 64×64 pictures for smaller ones, which are enlarged."""

    def __init__(self, critic: torch.nn.Module):
        super().__init__()
        self.critic = critic

    def forward(self, x: Tensor) -> Tensor:
        return self.critic(torch.nn.functional.interpolate(x, (64, 64), mode="bilinear", align_corners=False))


def judged(mined: Any, target: FewShot, seed: int) -> dict[str, Any]:
    """Everything that is measured of a result, on held-out pictures."""
    network, attributes = lite0(), face_attributes()
    fakes = mined.sample(JUDGED, seed=seed)
    real, probabilities_of_real = of_held_out(target.name, fakes.shape[-1])
    probabilities = attributes(fakes)
    sides = {
        "real": real,
        "fake": features_of(fakes, network),
        "rng": torch.Generator().manual_seed(seed),
        "draws": DRAWS,
    }
    own = {"kmmd": kmmd, "mean_variance": mean_variance, "precision": lambda a, b: precision(a, b, k=3)}
    shares = {
        name: {"value": (probabilities[:, i] > attributes.threshold).double().mean().item(), "n": len(fakes)}
        for i, name in enumerate(attributes.names)
    }
    if target.name == WOMEN:  # framed as CelebA's: of those the judge knows no age
        del shares["senior"]
    for i, name in enumerate(attributes.names):
        if name not in shares:
            continue
        told = (probabilities_of_real[:, i] > attributes.threshold).double().mean().item()
        shares[name] |= {"held_out": told, "m": len(real)}
    numbers = {"evaluation": evaluate(mined, target, n=JUDGED, seed=seed), "shares": shares}
    for name, distance in own.items():
        stated = measure(distance, signature=signature(network), **sides)
        numbers[name] = {"value": stated.value, "floor": stated.floor, "n": stated.n, "m": stated.m}
    if hasattr(mined, "latents"):
        numbers["latent_length"] = latent_length(mined, seed)
    return numbers


def latent_length(mined: Any, seed: int) -> dict[str, Any]:
    """How long mined latents are: √d of a prior N(0, I) of d numbers, on and off its shell."""
    lengths = mined.latents(JUDGED, seed=seed)[1].norm(dim=1)
    return {"mean": lengths.mean().item(), "sd": lengths.std().item(), "n": JUDGED}


def reference(experiment: str, run: str, seed: int, steps: int, device: str, out: Path, mine_only: bool) -> str:
    """One run: mined or adapted, judged and recorded; returns a line about it."""
    name = f"{experiment}/{run}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    start = time.time()
    folder = out / name.replace("/", "-")
    mined, target = mined_of(experiment, run, seed, steps, folder, device)
    if mine_only:
        return f"{name}: mined, {time.time() - start:.0f} s"
    numbers = judged(mined, target, seed)
    record = getattr(mined, "record", {"device": "cpu", "sources": [run.partition("-" + target.name)[0]]})
    ledger.record(
        name, numbers,
        settings={
            **{key: record[key] for key in KEEP if key in record},
            "target": target.name, "images": len(target.train), "tier": "full", "origin": "shared pictures",
            "held_out": len(target.held_out),
        },
        seeds=seed, device=record["device"], seconds=time.time() - start, n=JUDGED,
        command=f"python data_scripts/reference_faces.py --experiments {experiment} --runs {run} --seeds {seed}"
        f" --steps {steps}",
    )  # fmt: skip
    if experiment == "faces" and hasattr(mined, "save"):
        kept = out / "miners" / f"{run}-seed{seed}.safetensors"
        kept.parent.mkdir(parents=True, exist_ok=True)
        mined.save(kept)
    shutil.rmtree(folder, ignore_errors=True)  # the networks are not needed any more
    return f"{name}: {line(numbers)}, {time.time() - start:.0f} s"


def tuned(method: str) -> float:
    """The learning rate of the generator that --tune found for a method."""
    if (numbers := recorded(f"faces-tuning/{method}")) is None:
        raise SystemExit(f"faces-tuning/{method} is not recorded yet: run --tune first")
    return numbers["rate"]


def tune(method: str, steps: int, device: str, out: Path) -> str:
    """A method's learning rate, by KID to women of the training split that are not in the target of 100."""
    name = f"faces-tuning/{method}"
    if before := recorded(name):
        return f"{name}: recorded before, rate {before['rate']:g}"
    torch.set_num_threads(1)
    start, train = time.time(), target_of(WOMEN, 64, 600, 0)
    target, network = replace(train, train=train.train[:100]), lite0()
    others, tried = features_of(train.train[100:], network), []
    own = {"preset": "default"} if "minegan" in method else {}
    powers = [-1, 0, 1]
    for power in powers:  # grows on the side where the best is the last, to six at most
        factor = 3.0**power
        rate = RATES[method] * factor
        mined = adapt(
            method, load_gan("celeba-dcgan-64"), target, steps=steps, seed=0, **COMMON, **WITH_CRITIC, **own,
            generator_lr=rate, device=device, progress=False, out=out / f"tuning-{method}-{factor:.2f}",
            log_every=steps,
        )  # fmt: skip
        tried.append({"rate": rate, "kid": kid(others, features_of(mined.sample(500, seed=0), network))})
        best = min(tried, key=lambda row: row["kid"])
        if power == powers[-1] and len(powers) < 6:
            if best["rate"] == max(row["rate"] for row in tried):
                powers.append(max(powers) + 1)
            elif best["rate"] == min(row["rate"] for row in tried):
                powers.append(min(powers) - 1)
    ledger.record(
        name, {"rate": best["rate"], "tried": tried},
        settings={**COMMON, **WITH_CRITIC, "steps": steps, "images": 100, "tier": "full", "origin": "shared pictures"},
        seeds=0, device=mined.record["device"], seconds=time.time() - start, n=500,
        command=f"python data_scripts/reference_faces.py --tune --runs {method} --steps {steps}",
    )  # fmt: skip
    return f"{name}: " + ", ".join(f"{row['rate']:.1e} {row['kid']:.4f}" for row in tried)


def line(numbers: dict[str, Any]) -> str:
    """The numbers that the chapter shows, in short."""
    found, shares = numbers["evaluation"], numbers["shares"]
    told = ", ".join(f"{name} {share['value']:.0%}" for name, share in shares.items())
    return f"KID {found['kid']['value']:.3f} (floor {found['kid']['floor']:.3f}), {told}"


EXPERIMENTS = {
    "faces": (0, 1, 2, 3, 4),
    "faces-sizes": (0, 1, 2),
    "faces-forms": (0, 1, 2, 3, 4),
    "faces-longer": (0, 1, 2),
    "faces-critic": (0, 1, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tune", action="store_true", help="find the learning rates of --runs METHOD … instead")
    parser.add_argument("--experiments", nargs="+", default=list(EXPERIMENTS), choices=list(EXPERIMENTS))
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="only these, as --list names them")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: five, or three for sizes and critics")
    parser.add_argument("--steps", type=int, default=STEPS, help="updates (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/faces"), help="run folders (default %(default)s)")
    parser.add_argument("--mine-only", action="store_true", help="leave judging and recording to a later call")
    parser.add_argument("--list", action="store_true", help="run nothing: show what is recorded and what is pending")
    args = parser.parse_args()
    common = (args.steps, args.device, args.out)
    if args.tune:
        run_all(tune, [(method, *common) for method in args.runs or RATES], args.jobs)
        return
    which = [
        (experiment, run, seed)
        for experiment in args.experiments
        for seed in args.seeds or EXPERIMENTS[experiment]
        for run in runs(experiment)
        if args.runs is None or run in args.runs
    ]
    if args.list:
        for experiment, run, seed in which:
            before = recorded(name := f"{experiment}/{run}/seed{seed}")
            print(f"{name}: {line(before) if before else 'pending'}")
        return
    run_all(reference, [(*one, *common, args.mine_only) for one in which], args.jobs)


if __name__ == "__main__":
    main()
