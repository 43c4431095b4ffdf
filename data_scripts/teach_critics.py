"""Teaches a critic to each published generator that has none, measures it, and ships it.

    python data_scripts/teach_critics.py                         # all, a few minutes each on one core
    python data_scripts/teach_critics.py celeba-dcgan-64         # one

The generator is frozen; the critic learns to tell its samples from pictures of the kind that it imitates
(minegan_lite.teach_critic), so that mining starts from a judge that knows such pictures. Pictures come from the zips in
$MINEGAN_DATA (default ../shared/data); a thousand of each zip are held out, and the card says how well the critic tells
those from samples. The weights go to weights/, card and manifest entry into the package.
"""

import argparse
import os
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ship_source import TERMS as OF_SOURCES
from sklearn.metrics import roc_auc_score
from source_pictures import Pictures, load_pictures
from terminal import status
from torch import Tensor

from minegan_lite import published, teach_critic, zoo
from minegan_lite.data import to_signed
from minegan_lite.data.download import cache_folder
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.nn import draw

FAMILY = zoo.FAMILIES["plain"]
HELD_OUT = 1000
TERMS = OF_SOURCES | {
    "utkface_adults_64.zip": "UTKFace (Zhang et al. 2017): for non-commercial research only, and not to be passed on"
}
# {published generator: the pictures of its kind, what they are, and what its critic is taught with}
SOURCES: dict[str, dict[str, Any]] = {
    "celeba-dcgan-64": {"zip": "celeba_64.zip", "what": "CelebA's faces, framed as the generator's are"},
    "celeba-dcgan-64-tight": {"zip": "celeba_64.zip", "what": "CelebA's faces, seen through the same window"},
    "digiface-dcgan-64": {
        "zip": "utkface_adults_64.zip",
        "what": "UTKFace's adults, framed as tightly as the generator's; the rendered faces that it learned from are "
        "not at hand",
    },
}
OPTIONS: dict[str, Any] = {"steps": 600, "batch": 32, "precision": "bf16", "seed": 0}


def taught(name: str, pictures: Pictures, progress: bool = True) -> tuple[GAN, float]:
    """The generator with its critic, and the seconds of CPU time that it took."""
    start = time.process_time()
    gan = replace(published.load(name, with_critic=False), family=FAMILY)
    gan = teach_critic(gan, seen(name, pictures.train), device="cpu", progress=progress, **OPTIONS)
    return gan, time.process_time() - start


def seen(name: str, pictures: Tensor) -> Tensor:
    """Pictures (n, 3, H, W) as the generator of this name frames its own, in [−1, 1]."""
    left, top, right, bottom = published.TABLE[name].box or (0, 0, *pictures.shape[:1:-1])
    return to_signed(pictures[:, :, top:bottom, left:right])


@torch.no_grad()
def area(gan: GAN, critic: torch.nn.Module, real: Tensor, seed: int = 1) -> float:
    """The area under the curve by which a critic tells real pictures from as many samples: 0.5 if it cannot."""
    fake = gan.sample(len(real), seed=seed)
    scores = torch.cat([draw(critic, real), draw(critic, fake)]).squeeze(1)
    return float(roc_auc_score([1] * len(real) + [0] * len(fake), scores.numpy()))


def ship(name: str, gan: GAN, pictures: Pictures, seconds: float, folder: Path, beside: Path | None) -> Path:
    """Writes weights, card and manifest entry of a taught critic, and returns the weights' path."""
    own, critic = f"{name}-critic", gan.critic.half().float()
    auc = area(gan, critic, seen(name, pictures.held_out))
    shape = gan.generator.image_shape
    config = {"image_shape": list(shape), "width": critic.body[0].out_channels}
    card = card_of(name, own, config, pictures, seconds, auc, sum(weight.numel() for weight in critic.parameters()))
    return zoo.pack(
        own, critic, kind="critic", architecture="plain", config=config, digits=[], card=card, folder=folder,
        beside=beside,
    )  # fmt: skip


def card_of(
    name: str, own: str, config: dict[str, Any], pictures: Pictures, seconds: float, auc: float, count: int
) -> str:
    """The model card."""
    row, source = published.TABLE[name], SOURCES[name]
    file, facts = row.files[0], pictures.facts
    side = config["image_shape"][1]
    paragraphs = f"""\
**What it is.** A critic for the published generator `{name}` ({row.what}), which came without one: the generator was
frozen, and the critic learned to tell its samples from pictures of the kind it imitates. Mining starts from it.

**Architecture.** `minegan_lite.networks.plain.PlainCritic`, {side}×{side} RGB, width {config["width"]},
{count / 1e6:.2f} M parameters, stored as fp16, used as float32.

**Taught on.** {facts["train_count"]:,} pictures of `{source["zip"]}` ({source["what"]}); {facts["held_out_count"]:,}
more were held out. Their terms: {TERMS[source["zip"]]}. The generator is that of the Python package
`{file["package"]}=={file["version"]}`, weights: {row.licence}; no weight of it is in this file.

**How.** {OPTIONS["steps"]} steps of `minegan_lite.teach_critic`: loss {FAMILY} with its penalty of weight 10, batch
{OPTIONS["batch"]}, Adam (learning rate 0.001, β = (0.5, 0.9)), seed {OPTIONS["seed"]}, bf16 autocast,
{seconds / 60:.1f} minutes of CPU time on one thread:

    python data_scripts/teach_critics.py {name}

**Measured** on the fp16 weights: the area under its ROC curve for {facts["held_out_count"]:,} held-out pictures against
as many samples (seed 1) is {auc:.3f}; 0.5 is chance.

**Licence.** MIT for the weights, as all of minegan-lite: taught by its authors with its own script. For the pictures
see their terms above.

**Intended use.** Teaching and research on mining, in this book. **Limitations.** It judges small faces of this framing
against this one generator; a high score says nothing else about a picture, and nothing about a person."""
    text = "\n\n".join(
        part if part.startswith("    ") else textwrap.fill(part, 120, break_on_hyphens=False)
        for part in paragraphs.split("\n\n")
    )
    return f"# {own}\n\n{text}\n"


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    keep = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {', '.join(SOURCES)}")
    parser.add_argument(
        "--folder", type=Path, default=zoo.WEIGHTS, help="for card and manifest (default: the package's)"
    )
    parser.add_argument("--beside", type=Path, default=zoo.BESIDE, help="for the weights (default: weights/)")
    args = parser.parse_args(arguments)

    def teach() -> None:
        if unknown := [name for name in args.names if name not in SOURCES]:
            raise UserError(f"no critic is taught for {unknown[0]!r}: there are {', '.join(SOURCES)}")
        torch.set_num_threads(1)  # small networks: a second thread costs more than it brings
        root = Path(os.environ.get("MINEGAN_DATA", "../shared/data"))
        for name in args.names or SOURCES:
            spec = {"zip": SOURCES[name]["zip"], "held_out": HELD_OUT}
            pictures = load_pictures(spec, 64, root, cache_folder() / "pictures")
            gan, seconds = taught(name, pictures)
            print(ship(name, gan, pictures, seconds, args.folder, args.beside))

    return status("teach_critics.py", teach)


if __name__ == "__main__":
    sys.exit(main())
