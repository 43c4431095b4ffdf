"""Images of a loaded checkpoint, as its family's own code draws them: by class, and truncated where that exists."""

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, truncated
from minegan_lite.networks import biggan, biggan_deep
from minegan_lite.nn import frozen
from minegan_lite.shown import shown

PIXELS = 1 << 18  # drawn at a time, so that memory does not grow with the resolution: 16 images of 128×128, one of 512
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
    generator, rng = gan.generator, torch.Generator().manual_seed(seed)
    if n < 1:
        raise UserError(f"the number of samples must be at least 1, got {n}")
    if not 0 < truncation <= 1:
        raise UserError(f"truncation is above 0 and at most 1 (none), got {truncation}")
    if truncation < 1 and not truncates(generator):
        raise UserError(f"{shown(gan.name)} knows no truncation: leave it at 1")
    inputs = [gan.prior(n, rng)]  # (n, |z|)
    if truncation < 1 and _cuts(generator):
        nn.init.trunc_normal_(inputs[0], a=-CUT, b=CUT, generator=rng).mul_(truncation)
    if truncation < 1 and _takes(generator):
        generator = truncated(gan, truncation).generator
    device = next(generator.parameters()).device
    with frozen(generator), torch.no_grad():
        if generator.embedding_dim is not None:
            labels = _labels(len(generator.classes), n, classes, rng)
            inputs.append(generator.embed(labels.to(device)))  # (n, embedding_dim)
        elif classes is not None:
            raise UserError(f"{shown(gan.name)} is unconditional: it has no classes")
        batch = max(1, PIXELS // math.prod(generator.image_shape[1:]))
        parts = zip(*(rows.to(device).split(batch) for rows in inputs), strict=True)
        images = torch.cat([generator(*rows).cpu() for rows in parts])  # (n, C, H, W)
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


def _labels(count: int, n: int, classes: Sequence[int] | None, rng: torch.Generator) -> Tensor:
    """Class numbers (n,): drawn, or those of `classes` in equal parts."""
    if classes is None:
        return torch.randint(count, (n,), generator=rng)
    if wrong := [one for one in classes if not 0 <= one < count]:
        raise UserError(f"there is no class {wrong[0]}: the classes are 0 to {count - 1}")
    if not 0 < len(classes) <= n:
        raise UserError(f"{n} images cannot show {len(classes)} classes: ask for more images, and for a class")
    return torch.tensor([classes[i * len(classes) // n] for i in range(n)])
