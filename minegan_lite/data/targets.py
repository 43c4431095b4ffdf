"""Few-shot targets with their held-out sets: digits, drawn heads that come with the package, and folders of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minegan_lite.data import drawn
from minegan_lite.data.folders import few_images, few_of
from minegan_lite.data.images import short, to_signed
from minegan_lite.data.mnist import load_mnist, load_uci
from minegan_lite.data.packs import PACKS, load_pack
from minegan_lite.errors import UserError

DIGITS = {"mnist": load_mnist, "uci-digits": load_uci}


@dataclass(frozen=True, eq=False)
class FewShot:
    """A few-shot target and the images that judge how well it was met.

    train: (n, C, H, W) float32 in [−1, 1]. held_out: (m, C, H, W), likewise, disjoint from train.
    name: "mnist:9", "mnist:0×0.3+7×0.7", "uci-digits:9", "ffhq-drawn:women", the pack's or the folder's name. digit:
    None for anything but one digit. origin: where the images came from, "mnist" | "uci-digits" | "pack" | "drawn" |
    "folder" | "images".
    seed: of the draw of the train images. request: the arguments with which few_shot gives this target again,
    JSON-ready; None for images from memory. licence: the terms of a pack's and of drawn pictures, None of others.
    """

    train: Tensor = field(repr=False)
    held_out: Tensor = field(repr=False)
    name: str
    digit: int | None
    origin: str
    seed: int
    request: dict[str, Any] | None = None
    licence: str | None = None


def few_shot(
    source: str | Path | Sequence[Any] | Tensor,
    *,
    digit: int | None = None,
    mix: Mapping[int, float] | Sequence[tuple[int, float]] | None = None,
    n: int | None = None,
    seed: int = 0,
    image_shape: tuple[int, int, int] | None = None,
    resize: bool = False,
) -> FewShot:
    """n images to mine with and the held-out images to measure with. The same seed draws the same images.

    source "mnist" with a digit: n images (None: 1000) from MNIST's train split; all images of that digit in the test
        split are held out.
    source "uci-digits" with a digit: the same from scikit-learn's digits, which other people wrote.
    either with mix={0: 0.3, 7: 0.7} instead of a digit: several digits with these shares, in train up to rounding, and
        in the largest held-out set with these shares.
    source "fluent-heads" or "noto-faces": drawn heads that come with the package, 438 and 93 of 64×64 on white (see
        packs.load_pack); n images (None: four fifths) train, all others are held out. A head of fluent-heads is there
        in six colours, of which some may train and others be held out.
    source "ffhq-drawn:women", "ffhq-drawn:men" or "ffhq-drawn:seniors": 339, 340 and 196 faces of adults, nobody real,
        that the FFHQ generator of a package draws at listed seeds (data/drawn.py): 64×64, drawn once (40 seconds), then
        kept in the cache; n (None: four fifths) train, all others are held out. Not for commercial use, by the licence
        of that generator: the result's `licence` says so, and their pictures stand outside of this book's CC BY.
    source a folder with its subfolders, a list of paths, PIL images or tensors (C, H, W; uint8, or float in [−1, 1]),
        or a folder made by data_scripts/prepare_images.py: n images (None: four fifths) train, all others are held
        out. Files are sorted by their path within the folder; hidden files are skipped. image_shape is (C, H, W) of
        the generator, by default the first image's own shape. An image of another shape is refused; with resize=True
        it is converted to grey or RGB (transparent pixels become white), resized (antialiased, to cover image_shape)
        and cropped at the centre.
        Tensors, packs and prepared images are resized, but keep their channels. Floats that exceed ±1 by rounding
        (1e-3) are clamped; floats without a value below 0 are probably in [0, 1], which gives a warning.

    Raises UserError for an unknown source or digit, too few or too many images, images that are unreadable or of a
    wrong shape, and values that are not finite or not in [−1, 1].
    """
    if n is not None and (not isinstance(n, int) or n < 2):
        raise UserError(f"the number of images must be a whole number of at least 2, got {n!r}")
    if not isinstance(seed, int):
        raise UserError(f"the seed must be a whole number, got {seed!r}")
    if isinstance(source, str) and source in DIGITS:
        if image_shape not in (None, (1, 28, 28)):
            raise UserError(f"{source} has images of shape (1, 28, 28), the generator draws {tuple(image_shape)}")
        if mix is None:
            target = _few_digits(source, digit, n, seed)
            return replace(target, request={"source": source, "digit": digit, "n": n, "seed": seed})
        if digit is not None:
            raise UserError("give a digit or a mix of digits, not both")
        shares = _shares(mix)
        target = _mixed_digits(source, shares, n, seed)
        return replace(target, request={"source": source, "mix": sorted(shares.items()), "n": n, "seed": seed})
    if digit is not None or mix is not None:
        raise UserError(f"digits go with the sources 'mnist' and 'uci-digits', not with {short(source)}")
    if isinstance(source, str) and (source in PACKS or drawn.is_drawn(source)):
        in_pack = source in PACKS
        images = load_pack(source) if in_pack else drawn.load_drawn(source.partition(":")[2])
        train, held_out = few_of(list(images), source, n, seed, image_shape, resize)
        request = {"source": source, "image_shape": list(train.shape[1:]), "resize": resize, "n": n, "seed": seed}
        origin, licence = ("pack", PACKS[source].licence) if in_pack else ("drawn", drawn.licence())
        return FewShot(train, held_out, source, None, origin, seed, request, licence)
    train, held_out, name, origin = few_images(source, n, seed, image_shape, resize)
    target = FewShot(train, held_out, name, None, origin, seed)
    if not isinstance(source, (str, Path)):  # images from memory: nothing to find them by
        return target
    folder = {"source": str(Path(source).resolve()), "image_shape": list(train.shape[1:]), "resize": resize}
    return replace(target, request={**folder, "n": n, "seed": seed})


# --- digits -----------------------------------------------------------------------------------------------------


def _few_digits(source: str, digit: int | None, n: int | None, seed: int) -> FewShot:
    if not isinstance(digit, int) or digit not in range(10):
        raise UserError(f"{source} needs a digit from 0 to 9, got {digit!r}")
    images, labels = DIGITS[source]("train")
    test_images, test_labels = DIGITS[source]("test")
    mine = (labels == digit).nonzero().squeeze(1)
    if n is not None and n > len(mine):
        raise UserError(f"{source} has {len(mine)} images of the digit {digit} to train on, {n} were asked for")
    order = torch.randperm(len(mine), generator=torch.Generator().manual_seed(seed))
    train, held_out = images[mine[order[: n or 1000]]], test_images[test_labels == digit]
    return FewShot(to_signed(train), to_signed(held_out), f"{source}:{digit}", digit, source, seed)


def _shares(mix: Any) -> dict[int, float]:
    """Shares by digit, checked."""
    try:
        shares = {digit: float(share) for digit, share in (mix.items() if isinstance(mix, Mapping) else mix)}
    except (TypeError, ValueError):
        raise UserError(f"a mix gives shares by digit, as in mix={{0: 0.3, 7: 0.7}}, got {mix!r}") from None
    if len(shares) < 2 or not all(isinstance(digit, int) and digit in range(10) for digit in shares):
        raise UserError(f"a mix needs at least two digits from 0 to 9, got {list(shares)}")
    if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"the shares of a mix must be positive and of sum 1, got {shares}")
    return shares


def _mixed_digits(source: str, shares: dict[int, float], n: int | None, seed: int) -> FewShot:
    """few_shot of several digits, each drawn as it would be alone, and shuffled together."""
    asked = {digit: None if n is None else round(n * share) for digit, share in shares.items()}
    parts = {digit: _few_digits(source, digit, count, seed) for digit, count in asked.items()}

    def allowed(lengths: dict[int, int]) -> float:
        return min(length / shares[digit] for digit, length in lengths.items())

    most = min(n or 1000, allowed({digit: len(part.train) for digit, part in parts.items()}))
    judges = allowed({digit: len(part.held_out) for digit, part in parts.items()})
    if min(round(most * share) for share in shares.values()) < 2:
        raise UserError(f"{most:.0f} images at the shares {shares} leave a digit fewer than 2: ask for more")
    rng = torch.Generator().manual_seed(seed)

    def shuffled(images: list[Tensor]) -> Tensor:
        together = torch.cat(images)
        return together[torch.randperm(len(together), generator=rng)]

    train = shuffled([part.train[: round(most * shares[digit])] for digit, part in parts.items()])
    held_out = shuffled([part.held_out[: round(judges * shares[digit])] for digit, part in parts.items()])
    name = f"{source}:" + "+".join(f"{digit}×{share:g}" for digit, share in shares.items())
    return FewShot(train, held_out, name, None, source, seed)
