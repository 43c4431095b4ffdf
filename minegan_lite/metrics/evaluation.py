"""evaluate: how good a generator's samples are, each number with n, m and a real-vs-real floor."""

import statistics
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import FewRows
from minegan_lite.metrics.distances import copying, frechet_distance, nearest, nearest_other
from minegan_lite.metrics.features import check_shape, check_values, classifier_error, features_of, label_of, signature
from minegan_lite.metrics.kernels import kid
from minegan_lite.metrics.measurement import Distance, against_halves
from minegan_lite.metrics.neighbours import coverage
from minegan_lite.metrics.pictures import lite0
from minegan_lite.networks.mnist import DigitClassifier

if TYPE_CHECKING:
    from minegan_lite.data import FewShot

REPEATS = 10
NEIGHBOURS = 5
PICTURES = 500  # in a half, at most: KID is sharp enough there, and a CPU looks at ten times as many in a minute
NUMBERS = 2**28  # of all the pictures that are drawn: 1 GB
PIXELS = 64  # copies of larger pictures are looked for among their thumbnails
DIGITS = DigitClassifier.image_shape
NAMES = {"kid": "KID", "frechet": "Fréchet distance", "coverage": "coverage", "copying": "copying"}
PLACES = {"kid": 4, "frechet": 2, "coverage": 3, "copying": 3}  # behind the point


class Samples(Protocol):
    """What can be evaluated: `sample` gives images (n, C, H, W) in [−1, 1] on the CPU, by the named weights."""

    def sample(self, n: int, *, seed: int, ema: bool | None) -> Tensor: ...

    def weights(self, ema: bool | None) -> str: ...


def _copying_of_reals(held_out: Tensor, train: Tensor, picked: Tensor) -> float:
    """`copying` of the held-out images themselves, against held_out[picked] without each one's own self."""
    to_train, to_held_out = nearest(held_out, train)[0], nearest_other(held_out, picked)
    return ((to_train < to_held_out).double() + (to_train == to_held_out).double() / 2).mean().item()


def _drawn(mined: Samples, n: int, seed: int, ema: bool | None, shape: tuple[int, ...]) -> Tensor:
    """n samples, after a look at whether they are n images of that shape (C, H, W)."""
    fakes = mined.sample(n, seed=seed, ema=ema)
    if not isinstance(fakes, Tensor) or fakes.shape != (n, *shape):
        got = tuple(fakes.shape) if isinstance(fakes, Tensor) else type(fakes).__name__
        raise UserError(f"sample(n={n}) must give images {(n, *shape)}, as the held-out ones have them, and gave {got}")
    return fakes


def evaluate(
    mined: Samples,
    target: "FewShot",
    n: int = 10_000,
    seed: int = 0,
    ema: bool | None = None,
    features: nn.Module | None = None,
) -> dict[str, Any]:
    """How well samples of `mined` resemble the held-out images of `target`; a dict that JSON can hold.

    The held-out images are split at random into halves A and B. Each value is that of as many fakes as B has images
    against A, and each `floor` that of B against A, so that both have the same n, m and reference. This is done
    `repeats` times, at most 10, each with new halves and new fakes; `value` ± `sd` and `floor` ± `floor_sd` are over
    the repeats (an sd is None for a single one). The halves of two repeats overlap, and the sd is not the spread over
    mining seeds. What is measured goes by the images' shape.

    28×28 grey (digits), on the features of the shipped classifier:
        classifier_error (fraction): over n samples; `floor` is the classifier's own error on the m held-out images.
            None where the target has no digit.
        frechet, coverage.
    all other images (pictures), on those of `lite0()`, which is fetched once (0.01 s a picture on one CPU core):
        kid: called "KID (Lite0)", since neither FID nor Inception's KID compares with it. It has no bias, but a large
            spread below some fifty images: see its floor.
        frechet: None unless n exceeds the number of features (1280 of Lite0), since it is mostly bias below.
        coverage.
        A half has at most 500 images. Only the fakes that are compared are drawn, and not more than 1 GB of them.
    both:
        copying: the share of fakes that are nearer, in pixels, to an image of target.train than to any of as many
            held-out ones; `floor` is that share for the held-out images, each without itself. For each repeat m images
            of either side are drawn at random, m being the size of the smaller side. Pictures of more than 64 pixels
            are averaged down to these first. None where there are no training images.

    n: samples to draw; for pictures, at most. `seed` draws samples, halves and the images of copying; `ema` says which
    weights `mined.sample` takes. features: another network in the place of these, a DigitClassifier or one that
    `features_of` takes; it runs where it is, lite0().cuda() on a GPU. The rows name the features and their weights.
    Coverage takes k = 5, or one less than the half if that has 5 images or fewer.

    The floors are a little too good for MNIST: both halves were written by the people of its test split, while a
    generator imitates those of the training split.

    Raises UserError for fewer than 4 held-out images, fewer samples than half of them, a sampler that gives other
    than images of their shape, images that the features do not take, and where Lite0 cannot be had.
    """
    held_out, shape = target.held_out, target.held_out.shape[1:]
    if len(held_out) < 4:
        raise UserError(
            f"{target.name} has {len(held_out)} held-out images, so n and m are too small for any distance: "
            "hold out at least 4"
        )
    of_digits = isinstance(features, DigitClassifier) if features is not None else shape == DIGITS
    half = len(held_out) // 2 if of_digits else min(len(held_out) // 2, PICTURES)
    if n < half:
        raise UserError(f"n={n} samples are fewer than the {half} images of a half: ask for at least {half}")
    if features is None:
        features = _digit_classifier() if of_digits else lite0()
    if isinstance(features, DigitClassifier):
        check_shape(shape, features)
    if len(target.train):
        check_values(target.train)

    rng = torch.Generator().manual_seed(seed)
    repeats = min(REPEATS, n // half, max(1, NUMBERS // (half * shape.numel())))
    fakes = _drawn(mined, n if of_digits else repeats * half, seed, ema, shape)
    if len(held_out) > 2 * half + 1:
        held_out = held_out[torch.randperm(len(held_out), generator=rng)[: 2 * half]]

    real = features_of(held_out, features)
    blocks = features_of(fakes[: repeats * half], features).split(half)
    k = min(NEIGHBOURS, half - 1)
    distances: dict[str, Distance] = {"kid": kid, "frechet": frechet_distance, "coverage": partial(coverage, k=k)}
    if of_digits:
        del distances["kid"]
    elif half <= real.shape[1]:
        del distances["frechet"]
    found: dict[str, list[tuple[float, float]]] = {key: [] for key in distances}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewRows)  # the floor, at the same n, says how few is few
        for block, a, b in against_halves(blocks, real, rng):
            for key, distance in distances.items():
                found[key].append((distance(a, block), distance(a, b)))

    result: dict[str, Any] = {"target": target.name, "origin": target.origin, "seed": seed}
    result |= {"weights": mined.weights(ema), "classifier_error": None}
    if target.digit is not None:
        judge = features if isinstance(features, DigitClassifier) else _digit_classifier()
        value, floor = (classifier_error(judge, images, target.digit) for images in (fakes, held_out))
        result["classifier_error"] = {"value": value, "n": len(fakes), "m": len(held_out), "floor": floor}
    for key in ("frechet",) if of_digits else ("kid", "frechet"):
        named: dict[str, Any] = {} if of_digits else {"distance": f"{NAMES[key]} ({label_of(features)})"}
        result[key] = _row(found[key], half, features=signature(features), **named) if key in found else None
    result["coverage"] = _row(found["coverage"], half, k=k)
    pairs = _copied(fakes[: repeats * half].split(half), target.train, held_out, rng)
    result["copying"] = _row(pairs, half, min(len(target.train), len(held_out))) if pairs else None
    return result


def _row(pairs: list[tuple[float, float]], n: int, m: int | None = None, **rest: Any) -> dict[str, Any]:
    """A row of the result from (value, floor) of each repeat; m is n unless it is given."""
    values, floors = zip(*pairs, strict=True)
    (value, sd), (floor, floor_sd) = (
        (statistics.fmean(of), statistics.stdev(of) if len(of) > 1 else None) for of in (values, floors)
    )
    return dict(value=value, sd=sd, n=n, m=m or n, floor=floor, floor_sd=floor_sd, repeats=len(pairs), **rest)


def _copied(
    blocks: tuple[Tensor, ...], train: Tensor, held_out: Tensor, rng: torch.Generator
) -> list[tuple[float, float]]:
    """`copying` of each block, and of the held-out images; none where there are no training images."""
    pairs, found = min(len(train), len(held_out)), []
    train, held_out = _thumbnails(train), _thumbnails(held_out)
    for block in blocks if pairs else ():
        some = train[torch.randperm(len(train), generator=rng)[:pairs]]
        picked = torch.randperm(len(held_out), generator=rng)[:pairs]
        value = copying(_thumbnails(block), some, held_out[picked])
        found.append((value, _copying_of_reals(held_out, some, picked)))
    return found


def _digit_classifier() -> DigitClassifier:
    from minegan_lite.zoo import load_classifier

    return load_classifier()


def _thumbnails(images: Tensor) -> Tensor:
    """Images (n, C, H, W), averaged down to 64 pixels where they have more: what a copy is known by, in little room."""
    height, width = (min(length, PIXELS) for length in images.shape[2:])
    return images if images.shape[2:] == (height, width) else F.adaptive_avg_pool2d(images, (height, width))


def format_report(result: dict[str, Any]) -> str:
    """The dict of `evaluate` as a few lines for people: value, floor, n and m of each number."""

    def with_sd(value: float, sd: float | None, places: int) -> str:
        return f"{value:.{places}f}" + (f" ± {sd:.{places}f}" if sd is not None else "")

    rows = [("", "value", "real vs real", "n", "m")]
    if (error := result["classifier_error"]) is not None:
        rows.append(("classifier error", f"{error['value']:.2%}", f"{error['floor']:.2%}", error["n"], error["m"]))
    for key, places in PLACES.items():
        if (row := result.get(key)) is not None:
            value, floor = with_sd(row["value"], row["sd"], places), with_sd(row["floor"], row["floor_sd"], places)
            rows.append((row.get("distance", NAMES[key]), value, floor, row["n"], row["m"]))
    first, k = result.get("kid") or result["frechet"], result["coverage"]["k"]
    width = max(18, 2 + max(len(row[0]) for row in rows))
    return "\n".join(
        [
            f"{result['target']} ({result['origin']}), {result['weights']} weights, seed {result['seed']}",
            *(f"{name:<{width}}{value:>18}{floor:>18}{n:>8}{m:>8}" for name, value, floor, n, m in rows),
            f"distances: mean ± sd of {first['repeats']} split(s); features {first['features']}; coverage k={k}",
        ]
    )
