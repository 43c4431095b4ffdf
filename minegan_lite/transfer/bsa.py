"""Batch statistics adaptation (Noguchi & Harada 2019): only scales and shifts after hidden layers, without a critic.

Each target image has a latent code of its own; codes, scales and shifts are learned so that the frozen filters draw
the images, while the codes are held near N(0, I). New images come from latents near 0.
"""

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.nn import clone, device_of
from minegan_lite.transfer import fitting, perceptual
from minegan_lite.transfer.layers import in_order, is_linear

# The released code's for SNGAN; its rate is multiplied by 0.2 every 3,000 steps. It also moves the first linear map,
# at 1e-7, which we leave out: filters are frozen here.
PAPER = {"generator_lr": 0.03, "betas": (0.9, 0.999), "batch": 25, "sample_average": False}
TRUNCATION = 0.3
EARTH_MOVER, NEARNESS, NOISE = 0.1, 0.02, 0.01
NORM = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True)
class TruncatedNormal:
    """N(0, I) of `dim` numbers, each drawn again until it lies within ±bound; called as every prior is."""

    dim: int
    bound: float

    def __call__(self, n: int, rng: torch.Generator) -> Tensor:
        low = torch.special.ndtr(torch.tensor(-self.bound, dtype=torch.float64))
        u = torch.rand(n, self.dim, generator=rng, dtype=torch.float64)
        return torch.special.ndtri(low + (1 - 2 * low) * u).clamp(-self.bound, self.bound).float()


class ScaleShift(nn.Module):
    """h (n, C, …) or (n, C·k) → γ_c h + β_c; γ = 1 and β = 0 at the start."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))

    def forward(self, h: Tensor) -> Tensor:
        grouped = h.reshape(len(h), len(self.scale), -1)  # (n, C, k or H·W)
        scaled = grouped * self.scale[:, None] + self.shift[:, None]
        return scaled.reshape(h.shape)


def with_scales(generator: Any) -> nn.Module:
    """A frozen copy of a generator with a ScaleShift behind each hidden layer, the only parameters that learn.

    Behind each batch norm, where there are any, and behind the first linear map; else behind every linear map but the
    last. A linear map that is reshaped into maps shares one pair among the places of a channel.
    """
    copied = clone(generator).eval().requires_grad_(False)
    z = torch.zeros(2, generator.latent_dim, device=device_of(copied))
    passed = in_order(copied, z)
    norms = [part for _, part in passed if isinstance(part, NORM)]
    maps = [part for _, part in passed if is_linear(part)]
    hidden = [*maps[:1], *norms] if norms else maps[:-1]
    if not hidden:
        raise UserError(f"a {type(generator).__name__} has no hidden layers whose scales could be adapted")
    for part in hidden:
        part.scale_shift = ScaleShift(_channels(part, maps)).to(z.device)
        part.register_forward_hook(_apply)
    return copied


def _channels(part: Any, maps: list[Any]) -> int:
    if isinstance(part, NORM):
        return part.num_features
    if part.weight.ndim == 2:  # what it gives may be maps: then the next layer says how many
        after = maps[maps.index(part) + 1]
        return after.weight.shape[_inputs(after)] if after.weight.ndim > 2 else len(part.weight)
    return part.weight.shape[1 - _inputs(part)]


def _inputs(part: nn.Module) -> int:
    """Which dimension of a layer's weight counts its inputs."""
    return 0 if isinstance(part, nn.modules.conv._ConvTransposeNd) else 1


def _apply(part: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    return part.scale_shift(output)


def earth_mover(codes: Tensor, rng: torch.Generator) -> Tensor:
    """How far codes (n, d) are from N(0, I).

    The mean squared distance from each code to its nearest draw, and from each draw to its nearest code; there are ten
    times as many draws.
    """
    n, d = codes.shape
    draws = torch.randn(10 * n, d, generator=rng).to(codes)
    distances = codes.square().sum(1, keepdim=True) - 2 * codes @ draws.T + draws.square().sum(1)  # (n, 10n)
    return distances.amin(0).mean() + distances.amin(1).mean()


class Adaptation(nn.Module):
    """The generator with its scales and shifts, and a code for each image: what is learned."""

    def __init__(self, generator: Any, images: int):
        super().__init__()
        self.generator = with_scales(generator)
        self.codes = nn.Parameter(torch.zeros(images, generator.latent_dim, device=device_of(generator)))

    def nearness(self) -> Tensor:
        """Σ over layers of mean (γ − 1)² and mean β²."""
        pairs = [part for part in self.generator.modules() if isinstance(part, ScaleShift)]
        return reduce(torch.add, [(pair.scale - 1).square().mean() + pair.shift.square().mean() for pair in pairs])


def adapt(
    gan: GAN,
    target: FewShot | Tensor,
    *,
    truncation: float = TRUNCATION,
    **options: Any,
) -> Mined:
    """The source with new scales and shifts, sampled by a normal cut off at ±truncation; see transfer.adapt.

    The loss: mean |x̂ − x|, the distance of perceptual.default_maps, EARTH_MOVER × earth_mover of the codes, and
    NEARNESS × how far scales and shifts have gone.
    """
    _positive(truncation)
    asked = fitting.asked("bsa", gan, target, {"truncation": truncation}, paper=PAPER, **options)
    maps = perceptual.default_maps(gan).to(asked.device)
    learned = Adaptation(gan.generator, len(asked.images)).to(asked.device)

    def losses(pick: Tensor, real: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        codes = learned.codes[pick]
        noise = NOISE * torch.randn(codes.shape, generator=rng).to(codes)
        fake = learned.generator(codes + noise).float()
        return {
            "pixel": (fake - real).abs().mean(),
            "feature": maps.weight * perceptual.distance(maps, fake, real),
            "earth_mover": EARTH_MOVER * earth_mover(codes, rng),
            "nearness": NEARNESS * learned.nearness(),
        }

    prior = TruncatedNormal(gan.generator.latent_dim, truncation)
    adapted = fitting.renamed(gan, "bsa", learned.generator, prior=prior)
    return asked.fit(adapted, learned, losses, decay)


def truncated(adapted: Mined, truncation: float) -> Mined:
    """What adapt() gave, sampled by a normal cut off elsewhere: wider is more varied, and further from the images."""
    _positive(truncation)
    prior = TruncatedNormal(adapted.gan.generator.latent_dim, truncation)
    return replace(adapted, sources=[replace(adapted.gan, prior=prior)])


def frozen(gan: GAN, **options: Any) -> set[str]:
    """The whole generator: scales and shifts are added to it."""
    return {f"generator.{name}" for name, _ in gan.generator.named_parameters()}


def decay(step: int) -> float:
    """Step → the factor that multiplies the initial learning rate."""
    return 0.2 ** (step // 3000)


def _positive(truncation: float) -> None:
    if not isinstance(truncation, int | float) or not 0 < truncation < 10:
        raise UserError(f"truncation must be a number between 0 and 10, got {truncation!r}")
