"""What the methods without a critic share: minibatches of the target, a loss, one optimizer, an averaged generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite import ema
from minegan_lite.data import FewShot
from minegan_lite.gan import GAN
from minegan_lite.loop import Loop, Metric, Watch
from minegan_lite.mined import MinedGAN
from minegan_lite.miner import NoMiner
from minegan_lite.probe import check_sources
from minegan_lite.settings import Settings, describe, pick_device, refuse, target_images
from minegan_lite.stage import stream
from minegan_lite.training import default_metric
from minegan_lite.transfer.adversarial import OF_MINERS, recipe

OF_CRITICS = {"critic_steps", "penalty", "critic_lr", "loss"}
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


@dataclass(frozen=True)
class Asked:
    """A call of adapt() that has been checked: what to fit, and how."""

    target: FewShot | Tensor
    images: Tensor
    settings: Settings
    record: dict[str, Any]
    device: torch.device
    out: str | Path | None
    progress: bool
    metric: Metric | None
    watch: Watch | None

    def train(self, fit: Fit) -> MinedGAN:
        """Runs the loop to its end."""
        metric = self.metric or default_metric(self.target, fit.gan)
        return fit.train(self.images, self.record, self.out, self.progress, metric, self.watch)


def asked(
    method: str,
    gan: GAN,
    target: FewShot | Tensor,
    own: dict[str, Any],
    *,
    paper: dict[str, Any],
    released: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> Asked:
    """The arguments of adapt(), checked. Raises UserError.

    own: the method's, which the record keeps too. paper: the method's settings, which options replace. released:
    whether its generator learns in training mode.
    """
    refuse(options, OF_MINERS | OF_CRITICS, f"{method} has neither miner nor critic")
    (settings, preset), where = recipe(paper, options), pick_device(device)
    images = target_images(target, gan)
    check_sources([gan], released=released)
    record = describe(method, [gan], False, target, images, preset, settings, where) | own
    return Asked(target, images, settings, record, where, out, progress, metric, watch)


def renamed(gan: GAN, method: str, generator: nn.Module, **changes: Any) -> GAN:
    """The source with another generator and no critic, called after the method."""
    return replace(gan, generator=generator, critic=None, name=f"{method} {gan.name}", **changes)
