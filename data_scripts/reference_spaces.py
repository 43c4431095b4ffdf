"""The reference runs of the chapter on StyleGAN's spaces: one generator mined in z, in w and in w+, and judged.

Each run is one ledger entry spaces/SPACE-TARGET/seedS:

    SPACE     z, w, or wplus: a w of its own for each convolution and for the head
    TARGET    seniors: faces that the same generator drew, so that all of them are in its reach
              heads: drawn heads of an open pack, which no latent z gives

All else is alike: generator and critic, target images, steps, minibatches, the draws of u; of the rates see RATES.
Every miner is a residual one, u + f(u), and starts as the identity, so that all three begin with the same pictures.
Their hidden layers are so wide that they have equally many weights. The source is truncated as the drawn targets are,
in w and w+ already in the prior.

Beside the usual numbers a run records, at each logged step and for the same u: how far its pictures have drifted from
where they started, how near they are to the target, and how unusual their w are. Pictures of listed seeds of adults at
those steps, and the miner, are kept in --out, for ship_spaces.py. The critic is a fresh one: none is published, and the
pictures of FFHQ, on which one could be taught, are not at hand. What is recorded is skipped.

    python data_scripts/reference_spaces.py --list
    python data_scripts/reference_spaces.py --seeds 0 --targets seniors
"""

import argparse
import functools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from reference import recorded, run_all
from reference_faces import line
from torch import Tensor
from torch.nn import functional as F

from minegan_lite import FewShot, Mined, few_shot, load_gan, mine
from minegan_lite.chapters import ledger
from minegan_lite.data.drawn import read_list
from minegan_lite.files import write_atomically
from minegan_lite.gan import GAN, truncated
from minegan_lite.metrics import coverage, features_of, kid, lite0, measure, nearest, precision, signature
from minegan_lite.metrics.attributes import face_attributes
from minegan_lite.networks.style_layers import StyleGenerator, StyleSpace, in_style_space
from minegan_lite.nn import draw

FFHQ, TRUNCATION = "ffhq-mobilestylegan-64", 0.7
SPACES = {"z": (135,), "w": (135,), "wplus": (15,)}  # hidden layers: some 140,000 weights each
RATE = 2e-3  # of the released StyleGAN code
# A step of Adam moves each weight alike. A hidden unit in w+ sums up nine times as many inputs, so that it moves nine
# times as far: at the full rate pictures broke within ten steps.
RATES = {"z": RATE, "w": RATE, "wplus": RATE / 9}
TARGETS = {"seniors": "ffhq-drawn:seniors", "heads": "fluent-heads"}
STEPS, BATCH, IMAGES, JUDGED, DRAWS, FOLLOWED, STOPS, SHOWN = 80, 8, 100, 160, 50, 32, 5, 24
PEOPLE = ("women", 1), ("men", 2)  # whose pictures make the strips: listed seeds, adults by eye
WINDOW = (11, 18, 53, 60)  # of a face of this generator: as UTKFace frames faces, whose labels the judge learnt
KEEP = (
    "sources", "source_sha256", "target_sha256", "preset", "steps", "batch", "precision", "loss", "miner_lr",
    "critic_lr", "critic_steps", "penalty", "betas", "ema_decay", "residual", "hidden",
)  # fmt: skip


@dataclass(frozen=True)
class Mapped:
    """The prior of a style space: z ~ N(0, I) behind the mapping, truncated."""

    space: StyleSpace

    def __call__(self, n: int, rng: torch.Generator) -> Tensor:
        w = self.space.prior(n, rng).unflatten(1, self.space.latent_shape)
        return self.space.generator.truncate(w, TRUNCATION).flatten(1)


def source(space: str, gan: GAN | None = None) -> GAN:
    """The generator in one of SPACES; gan: another StyleGAN, for the tests."""
    gan = gan or load_gan(FFHQ)
    if space == "z":
        return truncated(gan, TRUNCATION)
    view = in_style_space(gan, per_layer=space == "wplus")
    return replace(view, prior=Mapped(view.generator))


def latents_of(gan: GAN, z: Tensor) -> Tensor:
    """Where a source, in whichever space, has the picture that z (n, |z|) gives: its own latents u (n, |u|)."""
    if not isinstance(gan.generator, StyleSpace):
        return z
    with torch.no_grad():
        w = inside(gan).truncate(inside(gan).mapping(z), TRUNCATION)
    return w.repeat(1, gan.generator.latent_dim // w.shape[1])


def rows_of(gan: GAN, latents: Tensor) -> Tensor:
    """The w of each layer, (n, layers, |w|), that latents of a source stand for."""
    network = inside(gan)
    if isinstance(gan.generator, StyleSpace):
        return network.rows(latents.unflatten(1, gan.generator.latent_shape))
    with torch.no_grad():
        return network.rows(network.truncate(network.mapping(latents), TRUNCATION))


def inside(gan: GAN) -> StyleGenerator:
    """The StyleGAN of a source, in whichever space."""
    return gan.generator.generator


@functools.cache
def usual(generator: StyleGenerator, n: int = 8192) -> tuple[Tensor, Tensor]:
    """Mean (|w|,) and covariance (|w|, |w|) of the w that a mapping gives, of n draws of z, in float64."""
    z = torch.randn(n, generator.latent_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w = generator.mapping(z).double()
    return w.mean(0), torch.cov(w.T)


def unusual(rows: Tensor, mean: Tensor, covariance: Tensor) -> float:
    """How far from the mapping's mean rows (n, layers, |w|) lie, in its own standard deviations; 1 for what it gives.

    The root of the mean square Mahalanobis distance over |w|: 0 for the mean itself, ψ for truncated draws.
    """
    off = (rows.double() - mean).flatten(0, 1)
    return ((torch.linalg.solve(covariance, off.T).T * off).sum(1).mean() / off.shape[1]).sqrt().item()


def spread(rows: Tensor, covariance: Tensor) -> float:
    """How much the layers of a picture disagree: their standard deviation in w, by that of w over the mapping's draws.

    rows (n, layers, |w|). 0 where all layers have the same w.
    """
    off = rows.double() - rows.double().mean(1, keepdim=True)
    return (off.square().sum(2).mean() / covariance.trace()).sqrt().item()


def placed(gan: GAN, rows: Tensor) -> dict[str, float]:
    """Where rows (n, layers, |w|) lie beside what the mapping gives."""
    mean, covariance = usual(inside(gan))
    return {"unusual": unusual(rows, mean, covariance), "spread": spread(rows, covariance)}


class Followed:
    """What is measured at each logged step of a run, on the same u: a `watch` of mine().

    `numbers` are a dict for each step; `pictures` (n, 3, H, W) those of PEOPLE at each step.
    """

    def __init__(self, gan: GAN, target: FewShot, seed: int):
        self.gan, self.network = gan, lite0()
        self.held_out = features_of(target.held_out, self.network)
        self.u = gan.prior(FOLLOWED, torch.Generator().manual_seed(10_000 + seed))
        seeds = [read_list()[kind]["seeds"][place] for kind, place in PEOPLE]
        z = torch.cat(
            [torch.randn(1, inside(gan).latent_dim, generator=torch.Generator().manual_seed(one)) for one in seeds]
        )
        self.people = latents_of(gan, z)
        self.numbers: list[dict[str, float]] = []
        self.pictures: list[Tensor] = []
        self.start = features_of(draw(gan.generator, self.u), self.network)
        self.unit = apart(self.start, self.start.roll(1, 0))
        self.note(0, self.u, draw(gan.generator, self.people))

    def note(self, step: int, latents: Tensor, people: Tensor) -> None:
        features = features_of(draw(self.gan.generator, latents), self.network)
        self.pictures.append(people)
        self.numbers.append(
            {
                "step": step,
                "drift": apart(features, self.start) / self.unit,
                "to_target": nearest(features, self.held_out)[0].mean().item() / self.unit,
                **placed(self.gan, rows_of(self.gan, latents)),
            }
        )

    def __call__(self, mined: Mined) -> None:
        miner = mined.networks(ema=False)[0]
        with torch.no_grad():
            latents, people = miner(self.u), miner(self.people)
        self.note(mined.history[-1]["step"], latents, draw(self.gan.generator, people))


def apart(x: Tensor, y: Tensor) -> float:
    """The mean distance of x (n, d) and y (n, d), row by row."""
    return (x - y).norm(dim=1).mean().item()


def close(images: Tensor) -> Tensor:
    """Faces of this generator, (n, 3, 64, 64), as UTKFace frames faces."""
    left, top, right, bottom = WINDOW
    cut = images[:, :, top:bottom, left:right]
    return F.interpolate(cut, images.shape[-2:], mode="bilinear", antialias=True, align_corners=False)


def judged(fakes: Tensor, target: FewShot, seed: int) -> dict[str, Any]:
    """What is measured of the samples of a result (n, 3, 64, 64), on held-out pictures."""
    network, attributes = lite0(), face_attributes()
    sides = {"real": features_of(target.held_out, network), "fake": features_of(fakes, network)}
    numbers = {}
    for name, distance in {
        "kid": kid, "precision": functools.partial(precision, k=3), "coverage": functools.partial(coverage, k=5),
    }.items():  # fmt: skip
        rng = torch.Generator().manual_seed(seed)
        stated = measure(distance, signature=signature(network), rng=rng, draws=DRAWS, **sides)
        numbers[name] = {"value": stated.value, "floor": stated.floor, "n": stated.n, "m": stated.m}
    has, of_held_out = (attributes(close(images)) > attributes.threshold for images in (fakes, target.held_out))
    shares = {
        name: {"value": has[:, i].double().mean().item(), "held_out": of_held_out[:, i].double().mean().item(),
               "n": len(has), "m": len(of_held_out)}
        for i, name in enumerate(attributes.names)
    }  # fmt: skip
    return {"evaluation": numbers, "shares": shares}


def target_of(name: str, seed: int, images: int = IMAGES) -> FewShot:
    """The target of a run: `images` drawn by the seed, all others held out."""
    return few_shot(TARGETS[name], n=images, seed=seed)


def reference(space: str, name: str, seed: int, steps: int, device: str, out: Path) -> str:
    """One run: mined, judged and recorded; its miner and its strip are kept. Returns a line about it."""
    run = f"spaces/{space}-{name}/seed{seed}"
    if before := recorded(run):
        return f"{run}: recorded before, {line(before)}"
    torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
    start, gan, target = time.time(), source(space), target_of(name, seed)
    followed = Followed(gan, target, seed)
    mined = mine(
        gan, target, steps=steps, seed=seed, batch=BATCH, precision="bf16", residual=True, hidden=SPACES[space],
        input_dim=gan.generator.latent_dim, device=device, progress=False, log_every=max(1, steps // STOPS),
        watch=followed, miner_lr=RATES[space],
    )  # fmt: skip
    fakes = mined.sample(JUDGED, seed=seed)
    numbers = judged(fakes, target, seed) | {"before": before_mining(name, seed), "followed": followed.numbers}
    numbers |= placed(gan, rows_of(gan, mined.latents(JUDGED, seed=seed)[1]))
    out.mkdir(parents=True, exist_ok=True)
    content = {"strip": torch.stack(followed.pictures), "samples": fakes[:SHOWN].contiguous()}
    write_atomically(kept(out, space, name, seed, "pictures"), safetensors.torch.save(content))
    mined.save(kept(out, space, name, seed, "miner"))
    record = mined.record
    ledger.record(
        run, numbers,
        settings={
            **{key: record[key] for key in KEEP if key in record}, "space": space, "truncation": TRUNCATION,
            "weights": sum(weight.numel() for weight in mined.miner.parameters()), "target": target.name,
            "images": len(target.train), "held_out": len(target.held_out), "tier": "full", "origin": target.origin,
        },
        seeds=seed, device=record["device"], seconds=time.time() - start, n=JUDGED,
        command=f"python data_scripts/reference_spaces.py --spaces {space} --targets {name} --seeds {seed}"
        f" --steps {steps}",
    )  # fmt: skip
    return f"{run}: {line(numbers)}, {time.time() - start:.0f} s"


@functools.cache
def before_mining(name: str, seed: int) -> dict[str, Any]:
    """The numbers of the source itself, which are the same in every space."""
    gan = source("z")
    u = gan.prior(JUDGED, torch.Generator().manual_seed(seed))
    return judged(draw(gan.generator, u), target_of(name, seed), seed)


def kept(out: Path, space: str, name: str, seed: int, what: str) -> Path:
    """Where a run's "miner" or "pictures" are kept."""
    return out / f"{space}-{name}-seed{seed}-{what}.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS, help="updates (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/spaces"), help="what is kept (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="run nothing: show what is recorded and what is pending")
    args = parser.parse_args()
    which = [(space, name, seed) for seed in args.seeds for name in args.targets for space in args.spaces]
    if args.list:
        for space, name, seed in which:
            before = recorded(run := f"spaces/{space}-{name}/seed{seed}")
            print(f"{run}: {line(before) if before else 'pending'}")
        return
    run_all(reference, [(*one, args.steps, args.device, args.out) for one in which], args.jobs)


if __name__ == "__main__":
    main()
