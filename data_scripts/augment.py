"""Differentiable augmentation (Zhao et al. 2020): what the critic sees is changed at random, reals and fakes alike.

Its gradient reaches the generator through the change. Images are (n, C, H, W) in [−1, 1]; `rng` is a CPU generator, so
that the draws are the same on every device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def augmented(x: Tensor, kinds: list[str], rng: torch.Generator) -> Tensor:
    """The images after the augmentations of these names (those of KINDS), in this order. KeyError for another name."""
    for kind in kinds:
        x = KINDS[kind](x, rng)
    return x


def colour(x: Tensor, rng: torch.Generator) -> Tensor:
    """Each image's brightness plus −0.5 to 0.5, its saturation times 0 to 2, its contrast times 0.5 to 1.5."""
    brightness, saturation, contrast = torch.rand(3, len(x), 1, 1, 1, generator=rng).to(x.device)
    x = x + (brightness - 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * (2 * saturation)
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + (x - mean) * (contrast + 0.5)


def translation(x: Tensor, rng: torch.Generator, ratio: float = 0.125) -> Tensor:
    """Each image moved by whole pixels, up to `ratio` of its side each way; zeros come in."""
    n, _, height, width = x.shape
    most = [round(side * ratio) for side in (height, width)]
    down, right = (torch.randint(-m, m + 1, (n, 1), generator=rng).to(x.device) for m in most)
    rows = (torch.arange(height, device=x.device) - down).clamp(-1, height) + 1  # (n, h), of the padded image
    columns = (torch.arange(width, device=x.device) - right).clamp(-1, width) + 1  # (n, w)
    padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (n, h + 2, w + 2, c)
    which = torch.arange(n, device=x.device)[:, None, None]
    return padded[which, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, rng: torch.Generator, ratio: float = 0.5) -> Tensor:
    """A square of `ratio` of the side is set to zero in each image, its centre anywhere in the image."""
    n, _, height, width = x.shape
    inside = []
    for side in (height, width):
        hole = round(side * ratio)
        start = torch.randint(0, side, (n, 1), generator=rng).to(x.device) - hole // 2
        places = torch.arange(side, device=x.device)
        inside.append((places >= start) & (places < start + hole))  # (n, side)
    return x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0.0)


KINDS = {"colour": colour, "translation": translation, "cutout": cutout}
