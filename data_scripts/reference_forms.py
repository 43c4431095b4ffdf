"""Miners that stay on the shell of the prior, on digits: nines mined from mnist-no-9, which never saw one.

The sister of reference_faces.py's experiment faces-forms, with the same forms of the miner. Where the target lies off
the manifold, a plain miner's latents leave the length √|z| that the generator knows. Each run is one ledger entry,
forms/FORM/seedS; 1000 target images, the library's defaults, last step; 5,000 samples are judged. What is recorded is
skipped and what was interrupted goes on.

    python data_scripts/reference_forms.py --jobs 2
    python data_scripts/reference_forms.py --forms plain shell --seeds 0
"""

import argparse
import time
from pathlib import Path

import torch
from reference import mnist_target, recorded, run_all
from reference_faces import FORMS, KEEP, latent_length

from minegan_lite import evaluate, mine, zoo
from minegan_lite.chapters import ledger

DIGIT, IMAGES, SAMPLES = 9, 1000, 5_000
SEEDS = (0, 1, 2, 3, 4)


def reference(form: str, seed: int, steps: int, device: str, out: Path) -> str:
    """One run, mined, judged and recorded; returns a line about it."""
    name = f"forms/{form}/seed{seed}"
    if before := recorded(name):
        return f"{name}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    start, target = time.time(), mnist_target(DIGIT, IMAGES, seed)
    mined = mine(
        zoo.load(f"mnist-no-{DIGIT}"), target, steps=steps, seed=seed, out=out / name.replace("/", "-"), device=device,
        progress=False, **FORMS[form],
    )  # fmt: skip
    numbers = {**evaluate(mined, target, n=SAMPLES, seed=seed), "latent_length": latent_length(mined, seed)}
    ledger.record(
        name, numbers,
        settings={**{key: mined.record[key] for key in KEEP if key in mined.record}, "tier": "full",
                  "origin": target.origin},
        seeds=seed, device=mined.record["device"], seconds=time.time() - start, n=SAMPLES,
        command=f"python data_scripts/reference_forms.py --forms {form} --seeds {seed} --steps {steps}",
    )  # fmt: skip
    return f"{name}: {line(numbers)}, {time.time() - start:.0f} s"


def line(numbers: dict) -> str:
    """The numbers that the comparison shows, in short."""
    error, length = numbers["classifier_error"]["value"], numbers["latent_length"]["mean"]
    return (
        f"error {error:.1%}, Fréchet {numbers['frechet']['value']:.1f}, coverage {numbers['coverage']['value']:.2f}, "
        f"length {length:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=list(FORMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--steps", type=int, default=600, help="updates (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/forms"), help="run folders (default %(default)s)")
    args = parser.parse_args()
    which = [(form, seed, args.steps, args.device, args.out) for seed in args.seeds for form in args.forms]
    run_all(reference, which, args.jobs)


if __name__ == "__main__":
    main()
