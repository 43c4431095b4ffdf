"""What the digit network makes of images: features for the distances, and its verdict on which digit it sees."""

from collections.abc import Callable

import torch
from torch import Tensor

from minegan_lite.errors import UserError
from minegan_lite.mined import frozen
from minegan_lite.networks.mnist import DigitClassifier
from minegan_lite.runs import weights_fingerprint


def check_shape(shape: tuple[int, ...], classifier: DigitClassifier) -> None:
    """Raises UserError unless `shape` (C, H, W) is what the digit network looks at, 28×28 grey."""
    if tuple(shape) != classifier.image_shape:
        channels, height, width = classifier.image_shape
        raise UserError(
            f"the digit network judges {height}×{width} grey images ({channels}, {height}, {width}) only, "
            f"these have shape {tuple(shape)}: evaluate a target of such images"
        )


def _in_batches(
    function: Callable[[Tensor], Tensor], images: Tensor, classifier: DigitClassifier, batch: int
) -> Tensor:
    if images.ndim != 4 or len(images) == 0:
        raise UserError(f"images must be a non-empty (n, C, H, W) tensor, got shape {tuple(images.shape)}")
    check_shape(images.shape[1:], classifier)
    if not images.isfinite().all():
        raise UserError("the images hold NaN or infinite numbers: nothing can be measured on them")
    weight = next(classifier.parameters())
    with frozen(classifier), torch.no_grad():
        return torch.cat([function(part.to(weight)).cpu() for part in images.split(batch)])


def digit_features(images: Tensor, classifier: DigitClassifier, batch: int = 500) -> Tensor:
    """Images (n, 1, 28, 28) in [−1, 1], on any device → features (n, classifier.feature_dim), on the CPU.

    The numbers before the logits, 128 in the shipped network: Inception would look at grey digits enlarged tenfold.
    Runs where the classifier is, without gradients, in eval mode, and leaves its mode as it was.
    Raises UserError for images of another shape, none at all, or NaN and infinite ones.
    """
    return _in_batches(classifier.features, images, classifier, batch)


def classifier_error(classifier: DigitClassifier, images: Tensor, digit: int) -> float:
    """The share, in [0, 1], of images (n, 1, 28, 28) whose most probable class is not `digit` (supplement D, Table 4).

    A generator that repeats one good image scores 0: read it beside a distance and coverage.
    Raises UserError as `digit_features` does.
    """
    verdicts = _in_batches(classifier, images, classifier, batch=500).argmax(dim=1)
    return (verdicts != digit).double().mean().item()


def digit_shares(classifier: DigitClassifier, images: Tensor) -> list[float]:
    """The share of images (n, 1, 28, 28) that the classifier takes for each digit: ten numbers of sum 1.

    Raises UserError as `digit_features` does.
    """
    verdicts = _in_batches(classifier, images, classifier, batch=500).argmax(dim=1)
    return (verdicts.bincount(minlength=10).double() / len(images)).tolist()


def signature(classifier: DigitClassifier) -> str:
    """The name of the features: "digit-classifier/<feature_dim>/<12 hex digits of the weights' sha256>".

    Distances are comparable only where it is equal. Parameters and buffers count: batch statistics shape features too.
    """
    return f"digit-classifier/{classifier.feature_dim}/{weights_fingerprint(classifier)[:12]}"
