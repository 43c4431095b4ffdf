"""What a network makes of images: features for the distances, and the digit network's verdict on the digit it sees."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.files import weights_fingerprint
from minegan_lite.metrics.checks import UnsignedImages, warn
from minegan_lite.networks.mnist import DigitClassifier
from minegan_lite.nn import frozen

DIGITS = 500  # images that the digit network looks at in one go
LIMIT = 10.0  # beyond it no image in [−1, 1] lies, however far its generator overshoots; 0…255 does


def features_of(images: Tensor, network: nn.Module, batch: int = 100) -> Tensor:
    """Images (n, C, H, W) in [−1, 1], on any device → features (n, d), on the CPU: what the distances work on.

    network: our digit network (`zoo.load_classifier()`), of which the numbers before the logits are taken;
        `inception.fid_inception()` and `inception.torchvision_inception()` for RGB; or any module that gives (n, d).
    Runs where the network is, without gradients, in eval mode (in train mode, an image's features would depend on its
    batch), and leaves its modes as they were. Images should be like those that it was trained on; resize reals and
    fakes in the same way. Generators that do not end in tanh (BigGAN's and StyleGAN's descendants) overshoot [−1, 1]
    by a half or so: their images are measured as they were drawn, up to ±10. Clamp them where the number should be
    that of saved pictures.
    Warns (UnsignedImages) where no value is below 0. Raises UserError for values beyond ±10, which are no images in
    [−1, 1], for integer images, none at all, NaN and infinite ones, images of a shape that the network does not take,
    and for a network whose output is not (n, d).
    """
    if isinstance(network, DigitClassifier):
        return _in_batches(network.features, images, network, DIGITS)
    features = _in_batches(network, images, network, batch)
    if features.ndim != 2:
        raise UserError(
            f"a feature network must give (n, d), {type(network).__name__} gives {tuple(features.shape)}: "
            "flatten or pool its output"
        )
    return features


def check_shape(shape: tuple[int, ...], classifier: DigitClassifier) -> None:
    """Raises UserError unless `shape` (C, H, W) is what the digit network looks at, 28×28 grey."""
    if tuple(shape) != classifier.image_shape:
        channels, height, width = classifier.image_shape
        raise UserError(
            f"the digit network judges {height}×{width} grey images ({channels}, {height}, {width}) only, "
            f"these have shape {tuple(shape)}: give lite0(), or a network of your own, to evaluate or features_of"
        )


def check_values(images: Tensor, above: int = 1) -> None:
    """Raises UserError unless images are floating-point numbers that can be meant for [−1, 1]; warns of [0, 1].

    above: as checks.warn takes it.
    """
    if not images.is_floating_point():
        raise UserError(f"images must be floats in [−1, 1], got {images.dtype}: images.to_signed converts 0…255")
    low, high = (end.item() for end in images.aminmax())
    if not math.isfinite(low) or not math.isfinite(high):
        raise UserError("the images hold NaN or infinite numbers: nothing can be measured on them")
    if low < -LIMIT or high > LIMIT:
        raise UserError(
            f"images must lie in [−1, 1], these reach from {low:.4g} to {high:.4g}: x / 127.5 - 1 converts 0…255, "
            "x.clamp(-1, 1) cuts off what a generator overshoots"
        )
    if low >= 0:
        unsigned = "no value of these images is below 0: if they lie in [0, 1], bring them to [−1, 1] by x * 2 - 1"
        warn(unsigned, above + 1, UnsignedImages)


def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor, network: nn.Module, batch: int) -> Tensor:
    if not isinstance(images, Tensor):
        raise UserError(f"images must be a tensor (n, C, H, W), got {type(images).__name__}")
    if images.ndim != 4 or len(images) == 0:
        raise UserError(f"images must be a non-empty (n, C, H, W) tensor, got shape {tuple(images.shape)}")
    if isinstance(network, DigitClassifier):
        check_shape(images.shape[1:], network)
    check_values(images, above=2)
    weight = next(network.parameters(), images)
    with frozen(network), torch.no_grad():
        return torch.cat([function(part.to(weight)).cpu() for part in images.split(batch)])


def digit_features(images: Tensor, classifier: DigitClassifier, batch: int = DIGITS) -> Tensor:
    """Images (n, 1, 28, 28) in [−1, 1], on any device → features (n, classifier.feature_dim), on the CPU.

    They are the numbers before the logits, 128 in the shipped network. Inception would look at grey digits enlarged
    tenfold. Runs where the classifier is, without gradients, in eval mode, and leaves its mode as it was.
    Raises UserError for images of another shape, and as `features_of` does; warns as that does.
    """
    return _in_batches(classifier.features, images, classifier, batch)


def classifier_error(classifier: DigitClassifier, images: Tensor, digit: int) -> float:
    """The share, in [0, 1], of images (n, 1, 28, 28) whose most probable class is not `digit` (supplement D, Table 4).

    A generator that repeats one good image scores 0: read it beside a distance and coverage.
    Raises UserError as `digit_features` does.
    """
    verdicts = _in_batches(classifier, images, classifier, batch=DIGITS).argmax(dim=1)
    return (verdicts != digit).double().mean().item()


def digit_shares(classifier: DigitClassifier, images: Tensor) -> list[float]:
    """The share of images (n, 1, 28, 28) that the classifier takes for each digit: ten numbers of sum 1.

    Raises UserError as `digit_features` does.
    """
    verdicts = _in_batches(classifier, images, classifier, batch=DIGITS).argmax(dim=1)
    return (verdicts.bincount(minlength=10).double() / len(images)).tolist()


def signature(network: nn.Module) -> str:
    """The name of a network's features: "digit-classifier/<feature_dim>/<12 hex digits of the weights' sha256>".

    Distances can be compared only where their signatures are equal. The hash is over parameters and buffers, since
    batch statistics shape features too. For other networks the first part is their `name`, or else their class. A
    `name` should say what is done with the images first, which the weights do not tell.
    """
    if isinstance(network, DigitClassifier):
        name = f"digit-classifier/{network.feature_dim}"
    else:
        name = getattr(network, "name", type(network).__name__)
    return f"{name}/{weights_fingerprint(network)[:12]}"


def label_of(network: nn.Module) -> str:
    """What a distance on these features is called by, "KID (Lite0)": the network's `label`, or else its class."""
    return getattr(network, "label", type(network).__name__)
