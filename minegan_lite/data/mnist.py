"""Handwritten digits: MNIST, whole and inside the package, and scikit-learn's UCI digits, written by other hands.

`packs/mnist-train.xz` and `packs/mnist-test.xz` are the four files of MNIST, bit for bit, made smaller by
data_scripts/pack_mnist.py; `packs/mnist.md` names their authors and licence.
"""

import functools
import hashlib
import lzma
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from minegan_lite.errors import UserError

PACKS = Path(__file__).parents[1] / "packs"
# The unpacked files as they were published, images first: (name, MD5, bytes).
MNIST_FILES = {
    "train": (
        ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb", 47_040_016),
        ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624", 60_008),
    ),
    "test": (
        ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea", 7_840_016),
        ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637", 10_008),
    ),
}
UCI_TRAIN = 1200  # of the 1,797 digits; the other 597 are the test split


def load_mnist(split: str) -> tuple[Tensor, Tensor]:
    """MNIST's "train" or "test" split: images uint8 (N, 1, 28, 28) and labels int64 (N,), N = 60,000 or 10,000.

    Read from the original files if $MINEGAN_DATA has them (MNIST/raw/…, as torchvision keeps them), otherwise from the
    package; the bytes are the same, and their hash is checked. Nothing is downloaded. Raises UserError for another
    split and for files that are damaged or are not MNIST.
    """
    if split not in MNIST_FILES:
        raise UserError(f"the split must be 'train' or 'test', got {split!r}")
    return _read(split, original_files())


def load_uci(split: str) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits in MNIST's shape: images uint8 (N, 1, 28, 28), labels int64 (N,); N = 1,200 or 597.

    8×8 pixels of 0…16, enlarged to 20×20 and centred as MNIST's are. Raises UserError for another split.
    """
    if split not in MNIST_FILES:
        raise UserError(f"the split must be 'train' or 'test', got {split!r}")
    images, labels = _uci()
    part = slice(None, UCI_TRAIN) if split == "train" else slice(UCI_TRAIN, None)
    return images[part], labels[part]


def original_files() -> Path | None:
    """$MINEGAN_DATA/MNIST/raw if it has all four files, otherwise None: then the package's are read."""
    raw = Path(os.environ.get("MINEGAN_DATA") or ".") / "MNIST" / "raw"
    there = all((raw / name).is_file() for files in MNIST_FILES.values() for name, *_ in files)
    return raw if os.environ.get("MINEGAN_DATA") and there else None


@functools.cache
def _read(split: str, raw: Path | None) -> tuple[Tensor, Tensor]:
    """A split from the folder of the original files, or from the package."""
    files = MNIST_FILES[split]
    where = f"{raw}" if raw else f"{PACKS / f'mnist-{split}.xz'}"
    try:
        contents = [(raw / name).read_bytes() for name, *_ in files] if raw else unpack(split)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"MNIST cannot be read ({type(error).__name__}): {where}") from error
    for (name, md5, _), content in zip(files, contents, strict=True):
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            mend = "delete it, or point MINEGAN_DATA elsewhere" if raw else "reinstall minegan-lite"
            raise UserError(f"{name} is damaged (another MD5 than MNIST's) in {where}: {mend}")
    images, labels = (np.frombuffer(bytearray(content), np.uint8) for content in contents)
    return (
        torch.from_numpy(images[16:].reshape(-1, 1, 28, 28)),  # behind a header of 4 numbers, (N, 1, 28, 28)
        torch.from_numpy(labels[8:]).long(),  # behind one of 2
    )


def unpack(split: str) -> list[bytes]:
    """The contents of a split's two files, images first, from mnist-SPLIT.xz; lzma's errors for a damaged pack."""
    sizes = [size for *_, size in MNIST_FILES[split]]
    with lzma.open(PACKS / f"mnist-{split}.xz") as packed:
        return [packed.read(size) for size in sizes]


@functools.cache
def _uci() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)  # (1797, 1, 8, 8)
    # Bicubic: bilinear smears the strokes so far that a classifier of real MNIST loses a third of the digits.
    images = F.interpolate(images, size=(20, 20), mode="bicubic", align_corners=False).clamp_(0, 255)
    images = F.pad(images, (4, 4, 4, 4)).round().to(torch.uint8)  # (1797, 1, 28, 28)
    return images, torch.from_numpy(digits.target).long()
