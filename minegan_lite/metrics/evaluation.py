"""evaluate: classifier error, Fréchet distance, coverage and copying, each with n, m and a real-vs-real floor."""

import statistics
import warnings
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.metrics.checks import FewRows
from minegan_lite.metrics.distances import copying, frechet_distance, nearest, nearest_other
from minegan_lite.metrics.features import check_shape, check_values, classifier_error, digit_features, signature
from minegan_lite.metrics.measurement import against_halves
from minegan_lite.metrics.neighbours import coverage
from minegan_lite.networks.mnist import DigitClassifier

if TYPE_CHECKING:
    from minegan_lite.data import FewShot

REPEATS = 10
NEIGHBOURS = 5
ROWS = (("frechet", "Fréchet distance", 2), ("coverage", "coverage", 3), ("copying", "copying", 3))


class Samples(Protocol):
    """What can be evaluated: `sample` gives images (n, C, H, W) in [−1, 1] on the CPU, by the named weights."""

    def sample(self, n: int, *, seed: int, ema: bool | None) -> Tensor: ...

    def weights(self, ema: bool | None) -> str: ...


def _mean_sd(values: list[float]) -> tuple[float, float | None]:
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


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
    classifier: DigitClassifier | None = None,
) -> dict:
    """How well `n` samples of `mined` resemble the held-out images of `target`; a dict that JSON can hold.

    classifier_error (fraction, `value`): over n samples; `floor` is the classifier's own error on the m held-out
        images. None where the target has no digit.
    frechet, coverage (`value` ± `sd`): the held-out images are split at random into halves A and B. The value is that
        of the fakes against A, and `floor` ± `floor_sd` that of B against A. There are as many fakes as B has images,
        so that value and floor have the same n, m and reference. This is done `repeats` times, at most 10, each with
        new halves and new fakes, and value and sd are over the repeats (sd is None for a single one). The halves of
        two repeats overlap, and the sd is not the spread over mining seeds.
    copying: the share of fakes that are nearer, in pixels, to an image of target.train than to any of as many
        held-out ones, over the same fakes; `floor` is that share for the held-out images, each without itself. For
        each repeat m images of either side are drawn at random, m being the size of the smaller side. None where
        there are no training images.
    `seed` draws samples, halves and the images of copying; `ema` is as in MinedGAN.sample. `classifier` defaults to
    the shipped one; `features` names it and its weights.
    Coverage takes k = 5, or one less than the half if that has 5 images or fewer.

    The floors are a little too good for MNIST: both halves were written by the people of its test split, while a
    generator imitates those of the training split.

    It is for digits. For other images take `features_of` with a network of your own, and `measure`.
    Raises UserError for fewer than 4 held-out images, fewer samples than half of them, a sampler that gives other
    than n images of their shape, and images that the digit network does not judge (it looks at 28×28 grey).
    """
    if classifier is None:
        from minegan_lite.zoo import load_classifier

        classifier = load_classifier()
    held_out = target.held_out
    half = len(held_out) // 2
    if half < 2:
        raise UserError(
            f"{target.name} has {len(held_out)} held-out images, so n and m are too small for any distance: "
            "hold out at least 4"
        )
    if n < half:
        raise UserError(f"n={n} samples are fewer than half of the held-out images: ask for at least {half}")
    check_shape(held_out.shape[1:], classifier)

    if len(target.train):
        check_values(target.train)
    fakes = _drawn(mined, n, seed, ema, held_out.shape[1:])
    repeats = min(REPEATS, n // half)
    k = min(NEIGHBOURS, half - 1)
    real_features = digit_features(held_out, classifier)
    fake_blocks = digit_features(fakes[: repeats * half], classifier).split(half)
    rng = torch.Generator().manual_seed(seed)
    frechet, frechet_floor, covered, covered_floor = [], [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FewRows)  # the floor, at the same n, says how few is few
        for block, a, b in against_halves(fake_blocks, real_features, rng):
            frechet.append(frechet_distance(block, a))
            frechet_floor.append(frechet_distance(b, a))
            covered.append(coverage(a, block, k))
            covered_floor.append(coverage(a, b, k))

    def row(values: list[float], floors: list[float], m: int = half, **rest: object) -> dict:
        (value, sd), (floor, floor_sd) = _mean_sd(values), _mean_sd(floors)
        return dict(value=value, sd=sd, n=half, m=m, floor=floor, floor_sd=floor_sd, repeats=repeats, **rest)

    copied, copied_floor = [], []
    pairs = min(len(target.train), len(held_out))
    for block in fakes[: repeats * half].split(half) if pairs else ():
        train = target.train[torch.randperm(len(target.train), generator=rng)[:pairs]]
        picked = torch.randperm(len(held_out), generator=rng)[:pairs]
        copied.append(copying(block, train, held_out[picked]))
        copied_floor.append(_copying_of_reals(held_out, train, picked))

    error = None
    if target.digit is not None:
        error = {
            "value": classifier_error(classifier, fakes, target.digit),
            "n": len(fakes),
            "m": len(held_out),
            "floor": classifier_error(classifier, held_out, target.digit),
        }
    return {
        "target": target.name,
        "origin": target.origin,
        "seed": seed,
        "weights": mined.weights(ema),
        "classifier_error": error,
        "frechet": row(frechet, frechet_floor, features=signature(classifier)),
        "coverage": row(covered, covered_floor, k=k),
        "copying": row(copied, copied_floor, pairs) if pairs else None,
    }


def format_report(result: dict) -> str:
    """The dict of `evaluate` as a few lines for people: value, floor, n and m of each number."""

    def with_sd(value: float, sd: float | None, digits: int) -> str:
        return f"{value:.{digits}f}" + (f" ± {sd:.{digits}f}" if sd is not None else "")

    rows = [("", "value", "real vs real", "n", "m")]
    if (error := result["classifier_error"]) is not None:
        rows.append(("classifier error", f"{error['value']:.2%}", f"{error['floor']:.2%}", error["n"], error["m"]))
    for key, label, digits in ROWS:
        if (row := result[key]) is None:
            continue
        value, floor = with_sd(row["value"], row["sd"], digits), with_sd(row["floor"], row["floor_sd"], digits)
        rows.append((label, value, floor, row["n"], row["m"]))
    frechet, k = result["frechet"], result["coverage"]["k"]
    return "\n".join(
        [
            f"{result['target']} ({result['origin']}), {result['weights']} weights, seed {result['seed']}",
            *(f"{label:<18}{value:>18}{floor:>18}{n:>8}{m:>8}" for label, value, floor, n, m in rows),
            f"distances: mean ± sd of {frechet['repeats']} split(s); features {frechet['features']}; coverage k={k}",
        ]
    )
