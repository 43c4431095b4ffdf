"""MinedGAN: a generator behind its miner, G∘M, ready to be sampled."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, StandardNormal
from minegan_lite.miner import Miner


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


def input_prior(gan: GAN, miner: Miner) -> Callable[[int, torch.Generator], Tensor]:
    """p(u): the source's own prior where u is as long as z (Sec. 3.2), else N(0, I) of the miner's input length."""
    return gan.prior if miner.sizes[0] == gan.generator.latent_dim else StandardNormal(miner.sizes[0])


def draw(generator: nn.Module, z: Tensor, batch: int = 500) -> Tensor:
    """Images (n, C, H, W) on the CPU of latents z (n, |z|), at most `batch` at a time."""
    with frozen(generator), torch.no_grad():
        return torch.cat([generator(part.to(_device(generator))).cpu() for part in z.split(batch)])


@dataclass
class MinedGAN:
    """G∘M with everything that made it; `sample` is what one wants of it.

    gan: the source; after stage two its generator is the fine-tuned one, raw weights.
    miner, critic: the trained networks, raw weights.
    miner_average, generator_average: their exponential moving averages (after stage one the generator has none:
        it is the frozen source's).
    settings: what was asked for, as training.Settings holds it, JSON-ready.
    history: one dict for each logged step: step, critic_loss, miner_loss, penalty, metric (None without one).
    """

    gan: GAN
    miner: Miner
    critic: nn.Module
    miner_average: nn.Module
    generator_average: nn.Module
    settings: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return tuple(self.gan.generator.image_shape)

    def latents(self, n: int, *, seed: int = 0, ema: bool | None = None) -> tuple[Tensor, Tensor]:
        """u (n, |u|) from the prior and the mined latents z = M(u) (n, |z|), both on the CPU."""
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
        return "ema" if (self.settings["sample_average"] if ema is None else ema) else "raw"

    def networks(self, ema: bool | None = None) -> tuple[nn.Module, nn.Module]:
        """The miner and the generator that sample(ema=…) takes."""
        averaged = self.weights(ema) == "ema"
        return (self.miner_average, self.generator_average) if averaged else (self.miner, self.gan.generator)


@dataclass(frozen=True)
class Unmined:
    """The source itself behind MinedGAN's `sample`, so that before and after are measured by the same code."""

    gan: GAN

    def sample(self, n: int, *, seed: int = 0, ema: bool | None = None) -> Tensor:
        """n images G(z), z ~ p(z), (n, C, H, W) on the CPU. `ema` is accepted and means nothing here."""
        return draw(self.gan.generator, self.gan.prior(_positive(n), torch.Generator().manual_seed(seed)))

    def weights(self, ema: bool | None = None) -> str:
        """Always "source"."""
        return "source"


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def _positive(n: int) -> int:
    if n < 1:
        raise UserError(f"the number of samples must be at least 1, got {n}")
    return n
