"""Few-shot targets from folders and lists of pictures: which pictures train, and which are held out."""

import os
import stat
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minegan_lite.data.images import is_prepared, own_shape, printable, read_image, read_prepared, short, warn_unsigned
from minegan_lite.errors import UserError


def few_images(
    source: Any, n: int | None, seed: int, image_shape: Sequence[int] | None, resize: bool
) -> tuple[Tensor, Tensor, str, str]:
    """few_shot for pictures: train (n, C, H, W), held-out images, the target's name, and "folder" or "images"."""
    if isinstance(source, (str, Path)):
        folder = _folder(source)
        items = list(read_prepared(folder)) if is_prepared(folder) else files_below(folder)
        name, origin = folder.resolve().name, "folder"
    elif isinstance(source, Sequence) or (isinstance(source, Tensor) and source.dim()):
        items, name, origin = list(source), "images", "images"
    else:
        raise UserError(f"unknown source {short(source)}: 'mnist', 'uci-digits', a folder or a list of images")
    return *few_of(items, printable(name), n, seed, image_shape, resize), name, origin


def few_of(
    items: Sequence[Any], name: str, n: int | None, seed: int, image_shape: Sequence[int] | None, resize: bool
) -> tuple[Tensor, Tensor]:
    """n of the items (None: four fifths) as train (n, C, H, W), the others as held-out images; messages say `name`."""
    if image_shape is None and not resize and items:
        image_shape = own_shape(items[0])
    shape = tuple(image_shape) if isinstance(image_shape, Sequence) else ()
    if len(shape) != 3 or not all(isinstance(side, Integral) and side > 0 for side in shape):
        raise UserError(f"images need image_shape=(C, H, W), the generator's, got {image_shape!r}")
    there = f"{name} holds {len(items)} images"
    if len(items) < 4:
        raise UserError(f"{there}: at least 4 are needed, 2 to mine with and 2 held out")
    if n is not None and n > len(items) - 2:
        raise UserError(f"{there}: at most {len(items) - 2} to mine with, {n} were asked for")
    n = n or min(4 * len(items) // 5, len(items) - 2)
    images = torch.stack([read_image(item, i, shape, resize) for i, item in enumerate(items)])
    floats = [isinstance(item, Tensor) and item.is_floating_point() for item in items]
    if any(floats) and not (images[torch.tensor(floats)] < 0).any():
        warn_unsigned("the images")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    return images[order[:n]], images[order[n:]]


def files_below(folder: Path) -> list[Path]:
    """The files in a folder and its subfolders, sorted by their path within it, without hidden files and folders.

    Links are followed, but no folder is entered twice. Raises UserError for a folder that cannot be read.
    """
    found, ahead, entered = [], [folder], set()
    while ahead:
        at = ahead.pop()
        try:
            here = os.stat(at)
            if (here.st_dev, here.st_ino) in entered:
                continue
            entered.add((here.st_dev, here.st_ino))
            with os.scandir(at) as entries:
                seen = [entry for entry in entries if not entry.name.startswith(".")]
            folders = {entry.path for entry in seen if os.path.isdir(entry)}
            found += [Path(entry) for entry in seen if entry.path not in folders]
            # the last of `ahead` is entered first; sorted, so that of two links to one folder the same is always taken
            ahead += map(Path, sorted(folders, reverse=True))
        except OSError as error:
            raise UserError(f"{printable(at)} cannot be read ({error.strerror}): give another folder") from None
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _folder(source: str | Path) -> Path:
    try:
        if stat.S_ISDIR(os.stat(source).st_mode):
            return Path(source)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{short(source)} cannot be read ({why}): give another folder") from None
    raise UserError(
        f"{str(source)!r} is no folder: give one with images, a pack, or 'mnist' or 'uci-digits' with a digit"
    )
