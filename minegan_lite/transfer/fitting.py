"""What the methods without a critic share: minibatches of the target, a loss, one optimizer, an averaged generator."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite import ema
from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.loop import Loop, Metric, Watch
from minegan_lite.mined import MinedGAN
from minegan_lite.miner import NoMiner
from minegan_lite.settings import Settings, describe, pick_device, resolve, target_images
from minegan_lite.stage import stream
from minegan_lite.training import default_metric
from minegan_lite.transfer.adversarial import OF_MINERS

OF_CRITICS = {"critic_steps", "penalty", "critic_lr"}
Losses = Callable[[Tensor, Tensor, torch.Generator], dict[str, Tensor]]


class Fit(Loop):
    """The loop: one minibatch, one update.

    gan: the adapted generator with the prior that it is sampled by. learned: what is trained, and saved; it holds the
    generator. losses: (indices of the minibatch (n,), its images (n, C, H, W), stream) → the terms of the loss.
    decay: the learning rate at a step, by the one at the start.
    """

    def __init__(
        self,
        gan: GAN,
        learned: nn.Module,
        losses: Losses,
        settings: Settings,
        device: torch.device,
        decay: Callable[[int], float] = lambda step: 1.0,
    ):
        self.rng = stream(gan.name, settings.seed)
        super().__init__(settings, [self.rng], device)
        self.gan, self.learned, self.losses, self.decay = gan, learned.to(device), losses, decay
        self.average = ema.averaged(gan.generator, settings.ema_decay)
        weights = [weight for weight in learned.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(weights, lr=settings.generator_lr, betas=settings.betas, fused=True)

    def one_step(self, images: Tensor) -> dict[str, float]:
        pick = torch.randint(len(images), (self.settings.batch,), generator=self.rng).to(self.device)
        with self.autocast():
            losses = self.losses(pick, images[pick], self.rng)
        self.optimizer.param_groups[0]["lr"] = self.settings.generator_lr * self.decay(self.step)
        self.optimizer.zero_grad()
        sum(losses.values()).backward()
        self.optimizer.step()
        self.average.update_parameters(self.gan.generator)
        return {f"{name}_loss": loss.item() for name, loss in losses.items()}

    def parts(self) -> dict[str, Any]:
        return {"learned": self.learned, "average": self.average, "optimizer": self.optimizer}

    def result(self, record: dict[str, Any]) -> MinedGAN:
        miner = NoMiner(self.gan.generator.latent_dim)
        return MinedGAN(self.gan, miner, None, miner, self.average.module, record, self.history)


def prepare(
    method: str, gan: GAN, target: FewShot | Tensor, device: str, options: dict[str, Any], own: dict[str, Any]
) -> tuple[Settings, Tensor, dict[str, Any], torch.device]:
    """The settings, the target's images, the run's record and the device, all checked. Raises UserError."""
    if strange := sorted(options.keys() & (OF_MINERS | OF_CRITICS)):
        raise UserError(f"{method} has neither miner nor critic, so {strange[0]} means nothing to it")
    settings, where = resolve("default", options), pick_device(device)
    images = target_images(target, gan)
    return settings, images, describe(method, [gan], False, target, images, "paper", settings, where) | own, where


def train(
    fit: Fit,
    images: Tensor,
    record: dict[str, Any],
    target: FewShot | Tensor,
    *,
    out: str | Path | None = None,
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
) -> MinedGAN:
    """Runs the loop; the arguments are mine()'s."""
    return fit.train(images, record, out, progress, metric or default_metric(target, fit.gan), watch)


def renamed(gan: GAN, method: str, generator: nn.Module, **changes: Any) -> GAN:
    """The source with another generator and no critic, called after the method."""
    return replace(gan, generator=generator, critic=None, name=f"{method} {gan.name}", **changes)
