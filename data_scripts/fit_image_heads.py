"""Fits the image heads of the cuts of MobileStyleGAN, on samples of the whole generator.

A cut stops at 64×64 or 128×128 features, and its head draws from these what the whole generator's image is, averaged
over the area of each pixel. Sampling takes a few seconds an image on one core and can be stopped: what is drawn stays
in the cache, and the same command goes on. The fit itself takes minutes.

    python data_scripts/fit_image_heads.py SynthesisNetwork.xml            # samples, fits, says how well
    python data_scripts/fit_image_heads.py SynthesisNetwork.xml --export   # and writes the heads into the package
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from terminal import status
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm, trange

from minegan_lite import checkpoints
from minegan_lite.data.download import sha256
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically
from minegan_lite.networks.mobile_stylegan import HEADS, Cut, Generator
from minegan_lite.nn import seeded

SIDES = (64, 128)
HELD_OUT = 4  # every fourth sample
RIDGE = 1e-2  # over the mean square of each feature


def latent(generator: Generator | Cut, i: int) -> Tensor:
    """The latent (1, latent_dim) of sample i."""
    return torch.randn(1, generator.latent_dim, generator=seeded(i))


def targets(generator: Generator, n: int, cache: Path, sides: Sequence[int] = SIDES) -> dict[int, Tensor]:
    """{side: images (n, 3, side, side)}: samples 0 to n − 1 of the whole generator, averaged over areas.

    Each is kept in a file of the folder `cache`, and drawn only where that is missing.
    """
    cache.mkdir(parents=True, exist_ok=True)
    found = []
    for i in trange(n, desc="samples", unit="image"):
        path = cache / f"{i:04}.safetensors"
        if not path.is_file():
            with torch.no_grad():
                image = generator(latent(generator, i))
            pixels = {str(side): F.adaptive_avg_pool2d(image, side)[0].contiguous() for side in sides}
            write_atomically(path, save(pixels))
        found.append(load_file(path))
    return {side: torch.stack([one[str(side)] for one in found]) for side in sides}


def fit(generator: Generator, side: int, images: Tensor) -> tuple[nn.Conv2d, dict[str, float]]:
    """The head by least squares, in fp16 as it ships, and R² of the samples that it was fitted on and of others.

    images: (n, 3, side, side), what samples 0 to n − 1 should be; every fourth is held out.
    """
    cut = Cut(generator, side, nn.Identity())
    width = len(cut.convs[-1].weight)
    held_out = torch.arange(len(images)) % HELD_OUT == HELD_OUT - 1
    # the sums that least squares need, so that no features are kept: those of features with a 1 below them
    squares, products = torch.zeros(width + 1, width + 1).double(), torch.zeros(width + 1, 3).double()
    for i in tqdm((~held_out).nonzero().flatten().tolist(), desc=f"features of {side}×{side}", unit="image"):
        pixels = _pixels(cut, i)
        squares += (pixels @ pixels.T).double()
        products += (pixels @ images[i].flatten(1).T).double()
    size, ridge = squares.diagonal().sqrt(), torch.full((width + 1,), RIDGE)
    ridge[-1] = 0  # the constant is free
    squares = squares / size / size[:, None] + ridge.diag()
    weight = (torch.linalg.solve(squares, products / size[:, None]) / size[:, None]).T.half().float()  # (3, width + 1)
    head = nn.Conv2d(width, 3, 1).requires_grad_(False)
    head.weight.copy_(weight[:, :-1, None, None])
    head.bias.copy_(weight[:, -1])
    drawn = torch.stack([(weight @ _pixels(cut, i)).unflatten(1, (side, side)) for i in range(len(images))])
    return head, {"fitted": r2(drawn[~held_out], images[~held_out]), "held out": r2(drawn[held_out], images[held_out])}


@torch.no_grad()
def _pixels(cut: Cut, i: int) -> Tensor:
    """The features (width + 1, side²) of sample i, the last of them 1."""
    features = cut(latent(cut, i))[0].flatten(1)
    return torch.cat([features, torch.ones(1, features.shape[1])])


def r2(drawn: Tensor, images: Tensor) -> float:
    """The share of the variance of images (n, 3, r, r) that is drawn; each channel's mean is not part of it."""
    rest = (drawn - images).square().sum()
    return 1 - (rest / (images - images.mean((0, 2, 3), keepdim=True)).square().sum()).item()


def ship(head: nn.Conv2d, side: int, samples: int, share: dict[str, float], folder: Path) -> Path:
    """Writes a head as fp16 safetensors, and its model card, into a folder; returns the path of the weights."""
    name = f"ffhq-head-{side}"
    path = folder / f"{name}.safetensors"
    write_atomically(path, save({key: x.half().contiguous() for key, x in head.state_dict().items()}))
    write_atomically(folder / f"{name}.md", card(name, head, side, samples, share).encode())
    return path


def card(name: str, head: nn.Conv2d, side: int, samples: int, share: dict[str, float]) -> str:
    """The model card of a head."""
    numbers = sum(x.numel() for x in head.parameters())
    fitted = samples - samples // HELD_OUT
    return f"""# {name}

**What it is.** The last layer of `ffhq-mobilestylegan-{side}`: a map of {numbers:,} numbers from the features of the
published MobileStyleGAN at {side}×{side} pixels to an RGB image of that size. The head alone is ours. Mapping and
blocks are the published ones: they are fetched from the package random-face, and never part of this file.

**Architecture.** A 1×1 convolution of {head.in_channels} channels (`minegan_lite.networks.mobile_stylegan.Cut`), stored
as fp16, used as float32.

**Training data.** {fitted} samples of the whole generator (z from N(0, I), not truncated), averaged over areas from
1024×1024 to {side}×{side}. No photograph was used, and none is in this file.

**Training.** Least squares with a ridge of {RIDGE:g}, in one step. Made and exported by

    python data_scripts/fit_image_heads.py SynthesisNetwork.xml --samples {samples} --export

**Licence.** The head was fitted by the authors of minegan-lite, on samples of a generator that is not for commercial
use: MobileStyleGAN was distilled from NVIDIA's StyleGAN2 (NVIDIA Source Code License-NC), which had learnt FFHQ (CC
BY-NC-SA 4.0). Take the head as under the same terms: not for commercial use. So are the pictures that it draws.

**Intended use.** Teaching and research on mining where 1024×1024 pixels take too long. **Limitations.** Colours and
contrast are slightly muted, since what the later blocks do with them is unknown here; the faces are those of FFHQ, with
its biases, and nobody's.

**Measured** on the fp16 weights: the share of the pixels' variance (R²) that it draws of {samples // HELD_OUT} samples
that were held out: **{share["held out"]:.3f}**; of those that it was fitted on: {share["fitted"]:.3f}.
"""


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, metavar="SynthesisNetwork.xml", help="with the three files beside it")
    parser.add_argument("--samples", type=int, default=200, metavar="N", help="of which a quarter is held out")
    parser.add_argument("--sides", nargs="+", type=int, default=SIDES, metavar="R", help="pixels at which to cut")
    parser.add_argument("--cache", type=Path, default=Path("runs/image-heads"), metavar="DIR", help="for the samples")
    parser.add_argument("--export", nargs="?", type=Path, const=HEADS, metavar="DIR", help="write into the package")
    args = parser.parse_args(arguments)

    def work() -> None:
        if args.samples < HELD_OUT:
            raise UserError(f"--samples is at least {HELD_OUT}, of which one is held out")
        generator = checkpoints.load(args.network).generator.requires_grad_(False)
        for side in args.sides:
            Cut(generator, side, nn.Identity())  # a side that cannot be is said before hours of sampling
        cache = args.cache / sha256(args.network.with_suffix(".bin"))[:12]
        images = targets(generator, args.samples, cache, args.sides)
        for side in args.sides:
            head, share = fit(generator, side, images[side])
            print(f"{side}×{side}: R² {share['held out']:.3f} held out, {share['fitted']:.3f} fitted")
            if args.export:
                print(ship(head, side, args.samples, share, args.export))

    return status("fit_image_heads.py", work)


if __name__ == "__main__":
    sys.exit(main())
