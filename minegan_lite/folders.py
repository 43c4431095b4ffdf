"""Few-shot targets from folders and lists of pictures: which of them are meant, and which are held out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.images import is_prepared, read_image, read_prepared, short


def few_images(
    source: Any, n: int | None, seed: int, image_shape: tuple[int, int, int] | None, resize: bool
) -> tuple[Tensor, Tensor, str, str]:
    """data.few_shot of pictures: train (n, C, H, W), held out, their name, and "folder" or "images", their origin."""
    if isinstance(source, (str, Path)):
        if not Path(source).is_dir():
            raise UserError(
                f"{str(source)!r} is no folder: give one with images, or 'mnist' or 'uci-digits' with a digit"
            )
        folder = Path(source)
        files = (path for path in folder.iterdir() if not path.name.startswith("."))
        items = list(read_prepared(folder)) if is_prepared(folder) else sorted(files)
        name, origin = folder.resolve().name, "folder"
    elif isinstance(source, (Sequence, Tensor)):
        items, name, origin = list(source), "images", "images"
    else:
        raise UserError(f"unknown source {short(source)}: 'mnist', 'uci-digits', a folder or a list of images")
    if image_shape is None or len(image_shape) != 3:
        raise UserError(f"images need image_shape=(C, H, W), the generator's, got {image_shape!r}")
    if len(items) < 4:
        raise UserError(f"{name} holds {len(items)} images: at least 4 are needed, 2 to mine with and 2 held out")
    if n is not None and n > len(items) - 2:
        raise UserError(f"{name} holds {len(items)} images: at most {len(items) - 2} to mine with, {n} were asked for")
    n = n or min(4 * len(items) // 5, len(items) - 2)
    images = torch.stack([read_image(item, i, tuple(image_shape), resize) for i, item in enumerate(items)])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:n]], images[order[n:]], name, origin
