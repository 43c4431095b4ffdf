"""MinedGAN and MinedFamily: generators behind their miners, G∘M, ready to be sampled."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.family import ClassSpace, sources_of
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.miner import ConditionalMiner, Miner
from minegan_lite.nn import frozen
from minegan_lite.selector import Selector

MOST, PIXELS = 500, 1 << 19  # images at a time, and pixels: 500 digits, 32 images of 128×128, 2 of 512×512
SEEDS = 2**63


def input_prior(gan: GAN, miner: Miner | ConditionalMiner) -> Callable[[int, torch.Generator], Tensor]:
    """p(u): the source's own prior of z where u is as long as z (Sec. 3.2), else N(0, I) of the miner's input."""
    generator, length = gan.generator, miner.sizes[0]
    in_classes = isinstance(generator, ClassSpace)  # u is no class: of the latent only z matters
    prior, latent = (generator.z_prior, generator.sizes[0]) if in_classes else (gan.prior, generator.latent_dim)
    return prior if length == latent else StandardNormal(length)


def at_once(image_shape: Sequence[int]) -> int:
    """How many images (C, H, W) are drawn at a time: at most MOST, fewer where they are large, and never none.

    So the memory that sampling takes does not grow with the number of images, nor beyond one image's with their size.
    """
    return max(1, min(MOST, PIXELS // math.prod(image_shape[1:])))


def draw(network: nn.Module, z: Tensor) -> Tensor:
    """What a network makes of rows z (n, …), such as a generator's images (n, C, H, W), on the CPU, in parts.

    The parts are at_once() rows, by the network's image_shape; MOST where it has none, as a miner.
    """
    batch = at_once(network.image_shape) if hasattr(network, "image_shape") else MOST
    with frozen(network), torch.no_grad():
        return torch.cat([network(part.to(_device(network))).cpu() for part in z.split(batch)])


@dataclass
class MinedGAN:
    """G∘M with everything that made it; `sample` is what one wants of it.

    gan: the source, a conditional one in its ClassSpace; after stage two its generator is the fine-tuned one, raw
        weights.
    miner, critic: the trained networks, raw weights; the miner of a conditional source is a ConditionalMiner.
    miner_average, generator_average: their exponential moving averages (after stage one the generator has none:
        it is the frozen source's).
    settings: what was asked for, as training.Settings holds it, JSON-ready.
    history: one dict for each logged step: step, critic_loss, miner_loss, penalty, metric (None without one).
    """

    gan: GAN
    miner: Miner | ConditionalMiner
    critic: nn.Module
    miner_average: nn.Module
    generator_average: nn.Module
    settings: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.gan.generator.image_shape)

    def latents(self, n: int, *, seed: int = 0, ema: bool | None = None) -> tuple[Tensor, Tensor]:
        """u (n, |u|) from the prior and the mined latents z = M(u) (n, |z|), both on the CPU.

        In a ClassSpace the latents are z and class embedding side by side, (n, |z| + |c|).
        """
        u = input_prior(self.gan, self.miner)(_positive(n), seeded(seed))
        miner, _ = self.networks(ema)
        with frozen(miner), torch.no_grad():
            return u, miner(u.to(_device(miner))).cpu()

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images G(M(u)) (n, C, H, W) on the CPU, the network's own output, nominally in [−1, 1].

        seed: of the draw of u. ema: averaged weights (True; decay 0.999 unless the run had another, warmed up), raw
        ones (False), or what the preset says (None): averages, but the raw weights under "paper" and "official",
        which know no averaging.
        """
        _, z = self.latents(n, seed=seed, ema=ema)
        return draw(self.networks(ema)[1], z)

    def weights(self, ema: bool | None = None) -> str:
        """Which weights sample(ema=…) takes: "ema" or "raw"."""
        return _weights(self.settings, ema)

    def networks(self, ema: bool | None = None) -> tuple[nn.Module, nn.Module]:
        """The miner and the generator that sample(ema=…) takes."""
        averaged = self.weights(ema) == "ema"
        return (self.miner_average, self.generator_average) if averaged else (self.miner, self.gan.generator)


@dataclass
class MinedFamily:
    """Several sources behind their miners, and the selector that says how often each is sampled (Sec. 3.3).

    sources: in the order they were given, the classes of a conditional GAN one by one; after stage two their
        generators are the fine-tuned ones, raw weights.
    miners, miners_average, generators_average: one of each for each source; critic: the only one.
    selector: p and how it came about. settings, history: as MinedGAN's; an entry also has "probabilities".
    """

    sources: list[GAN]
    miners: nn.ModuleList
    critic: nn.Module
    miners_average: nn.Module
    generators_average: nn.Module
    selector: Selector
    settings: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.sources[0].generator.image_shape)

    @property
    def probabilities(self) -> dict[str, float]:
        """p by the sources' names, in their order; of sources of one name the second is called "name (2)"."""
        return dict(zip(_told_apart(self.sources), self.selector.probabilities.tolist(), strict=True))

    def chosen(self, n: int, *, seed: int = 0) -> Tensor:
        """From which source, by its place, each image of sample(n, seed=seed) comes: int64 (n,)."""
        return self.selector.choose(_positive(n), seeded(seed))

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images (n, C, H, W) on the CPU: first a source by p, then u, then G_i(M_i(u)); ema as in MinedGAN."""
        rng = seeded(seed)
        return _scatter(
            self.selector.choose(_positive(n), rng), lambda i, count: self.draw(i, count, rng, ema), self.image_shape
        )

    def draw(self, i: int, n: int, rng: torch.Generator, ema: bool | None = None) -> Tensor:
        """n images of the i-th source's G_i(M_i(u)), whatever the selector says, (n, C, H, W) on the CPU."""
        u = input_prior(self.sources[i], self.miners[i])(n, rng)
        miner, generator = self.networks(i, ema)
        with frozen(miner), torch.no_grad():
            z = miner(u.to(_device(miner)))
        return draw(generator, z)

    def supersample(self, *, seed: int = 0, ema: bool | None = None) -> tuple[Tensor, Tensor, int]:
        """One image of each source (N, C, H, W), the critic's scores of them (N,), and the place of the winner."""
        rng = seeded(seed)
        images = torch.cat([self.draw(i, 1, rng, ema) for i in range(len(self.sources))])
        with frozen(self.critic), torch.no_grad():
            scores = self.critic(images.to(_device(self.critic))).squeeze(1).cpu()
        return images, scores, int(scores.argmax())

    def weights(self, ema: bool | None = None) -> str:
        """Which weights sample(ema=…) takes: "ema" or "raw"."""
        return _weights(self.settings, ema)

    def networks(self, i: int, ema: bool | None = None) -> tuple[nn.Module, nn.Module]:
        """The miner and the generator of the i-th source that sample(ema=…) takes."""
        if self.weights(ema) == "ema":
            return self.miners_average[i], self.generators_average[i]
        return self.miners[i], self.sources[i].generator


@dataclass(frozen=True)
class Unmined:
    """The source itself behind MinedGAN's `sample`, so that before and after are measured by the same code.

    gan: as mine() takes it; of several sources, or classes, each image's is drawn with equal chances.
    """

    gan: GAN | Sequence[GAN]

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images G(z), z ~ p(z), (n, C, H, W) on the CPU. `ema` is accepted and means nothing here."""
        sources, rng = sources_of(self.gan), seeded(seed)

        def images(i: int, count: int) -> Tensor:
            return draw(sources[i].generator, sources[i].prior(count, rng))

        if len(sources) == 1:
            return images(0, _positive(n))
        chosen = torch.randint(len(sources), (_positive(n),), generator=rng)
        return _scatter(chosen, images, sources[0].generator.image_shape)

    def weights(self, ema: bool | None = None) -> str:
        """Always "source"."""
        return "source"


def _scatter(chosen: Tensor, images: Callable[[int, int], Tensor], shape: Sequence[int]) -> Tensor:
    """(n, C, H, W): at each place an image of the source chosen there, images(i, count) being count of source i."""
    out = torch.empty(len(chosen), *shape)
    for i in chosen.unique().tolist():
        rows = chosen == i
        out[rows] = images(i, int(rows.sum()))
    return out


def _weights(settings: dict[str, Any], ema: bool | None) -> str:
    return "ema" if (settings["sample_average"] if ema is None else ema) else "raw"


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters(), torch.empty(0)).device


def _told_apart(sources: Sequence[GAN]) -> list[str]:
    names: list[str] = []
    for source in sources:
        name, place = source.name, 1
        while name in names:
            place += 1
            name = f"{source.name} ({place})"
        names.append(name)
    return names


def seeded(seed: int) -> torch.Generator:
    """A CPU generator. Raises UserError for a seed that is no whole number from 0 to 2⁶³ − 1."""
    return torch.Generator().manual_seed(whole(seed, 0, "the seed"))


def whole(value: int, least: int, what: str) -> int:
    """A whole number, NumPy's too, as an int. Raises UserError for anything else, below `least`, and from 2⁶³ on."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise UserError(f"{what} must be a whole number of at least {least}, got {value!r}")
    if number >= SEEDS:
        raise UserError(f"{what} must be a whole number below 2**63, got {value!r}")
    return number


def _positive(n: int) -> int:
    return whole(n, 1, "the number of samples")
