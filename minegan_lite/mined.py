"""MinedGAN and MinedFamily: generators behind their miners, G∘M, ready to be sampled."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.family import ClassSpace, sources_of
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.miner import ConditionalMiner, Miner
from minegan_lite.selector import Selector


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Inside: eval mode and no gradients to the weights. Afterwards every mode and flag is what it was.

    Frozen means every byte: eval mode is what keeps BatchNorm statistics and spectral-norm vectors still.
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    flags = [(weight, weight.requires_grad) for module in modules for weight in module.parameters()]
    for module in modules:
        module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for weight, flag in flags:
            weight.requires_grad_(flag)


def input_prior(gan: GAN, miner: Miner | ConditionalMiner) -> Callable[[int, torch.Generator], Tensor]:
    """p(u): the source's own prior of z where u is as long as z (Sec. 3.2), else N(0, I) of the miner's input."""
    generator, length = gan.generator, miner.sizes[0]
    in_classes = isinstance(generator, ClassSpace)  # u is no class: of the latent only z matters
    prior, latent = (generator.z_prior, generator.sizes[0]) if in_classes else (gan.prior, generator.latent_dim)
    return prior if length == latent else StandardNormal(length)


def draw(generator: nn.Module, z: Tensor, batch: int = 500) -> Tensor:
    """Images (n, C, H, W) on the CPU of latents z (n, |z|), at most `batch` at a time."""
    with frozen(generator), torch.no_grad():
        return torch.cat([generator(part.to(_device(generator))).cpu() for part in z.split(batch)])


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
        u = input_prior(self.gan, self.miner)(_positive(n), torch.Generator().manual_seed(seed))
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
        """p by the sources' names."""
        return dict(zip((gan.name for gan in self.sources), self.selector.probabilities.tolist(), strict=True))

    def chosen(self, n: int, *, seed: int = 0) -> Tensor:
        """From which source, by its place, each image of sample(n, seed=seed) comes: int64 (n,)."""
        return self.selector.choose(_positive(n), torch.Generator().manual_seed(seed))

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images (n, C, H, W) on the CPU: first a source by p, then u, then G_i(M_i(u)); ema as in MinedGAN."""
        rng = torch.Generator().manual_seed(seed)
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
        rng = torch.Generator().manual_seed(seed)
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
        sources, rng = sources_of(self.gan), torch.Generator().manual_seed(seed)

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


def _positive(n: int) -> int:
    if n < 1:
        raise UserError(f"the number of samples must be at least 1, got {n}")
    return n
