"""Images of a loaded checkpoint, as its family's own code draws them: by class, and truncated where that exists."""

import inspect
from collections.abc import Sequence

from torch import Tensor, nn

from minegan_lite.errors import UserError, whole
from minegan_lite.gan import GAN, truncated
from minegan_lite.networks import biggan, biggan_deep
from minegan_lite.nn import seeded
from minegan_lite.shown import shown

CUT = 2.0  # the ends of BigGAN's truncated normal distribution, before it is multiplied by the truncation


def sample(gan: GAN, n: int, *, seed: int = 0, classes: Sequence[int] | None = None, truncation: float = 1.0) -> Tensor:
    """n images (n, C, H, W) on the CPU, the network's own output, nominally in [−1, 1].

    seed: of the latents and classes. classes: class numbers, which share the n images equally, in this order (some may
    get one image fewer); None draws a class for each image. truncation: in (0, 1], 1 for none. For StyleGANs it is ψ;
    for BigGANs, latents are drawn from a normal distribution cut at ±2 and multiplied by it (Brock et al. 2019,
    Sec. 3.1), and BigGAN-deep takes the statistics that it stores for each truncation. Raises UserError for a
    truncation out of range or of a generator that has none, for classes that do not exist, and for images that are not
    finite, which come from damaged weights.
    """
    rng = seeded(seed)
    if not 0 < truncation <= 1:
        raise UserError(f"truncation is above 0 and at most 1 (none), got {truncation}")
    if truncation < 1 and not truncates(gan.generator):
        raise UserError(f"{shown(gan.name)} knows no truncation: leave it at 1")
    z = gan.prior(whole(n, 1, "the number of samples"), rng)  # (n, |z|)
    if truncation < 1 and _cuts(gan.generator):
        nn.init.trunc_normal_(z, a=-CUT, b=CUT, generator=rng).mul_(truncation)
    if truncation < 1 and _takes(gan.generator):
        gan = truncated(gan, truncation)
    images = gan.images_of(z, classes, rng)
    if not images.isfinite().all():
        raise UserError(
            f"{shown(gan.name)} draws images that are not finite: its weights are damaged, fetch them again"
        )
    return images


def truncates(generator: nn.Module) -> bool:
    """Whether `sample` takes a truncation below 1 for this generator."""
    return _cuts(generator) or _takes(generator)


def _cuts(generator: nn.Module) -> bool:
    return isinstance(generator, (biggan.Generator, biggan_deep.Generator))


def _takes(generator: nn.Module) -> bool:
    return "truncation" in inspect.signature(generator.forward).parameters
