"""What the methods without a critic share: minibatches of the target, a loss, one optimizer, an averaged generator."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.config import Fitting, Training
from minegan_lite.data import FewShot
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.miner import NoMiner
from minegan_lite.nn import averaged, pick_device, stream
from minegan_lite.probe import check_sources, target_images
from minegan_lite.runs import Course, course_of
from minegan_lite.selector import Selector
from minegan_lite.training import default_metric, describe
from minegan_lite.transfer.adversarial import recipe

Losses = Callable[[Tensor, Tensor, torch.Generator], dict[str, Tensor]]


class Fit:
    """What the fitting of a generator reads and changes (runs.Trained).

    gan: the adapted generator with the prior that it is sampled by. learned: what is trained, and saved; it holds the
    generator. purpose: names the stream of random numbers.
    """

    def __init__(self, gan: GAN, learned: nn.Module, config: Fitting, device: torch.device, purpose: str):
        self.config: Training = config  # no more of it, as a Course reads it
        self.device, self.step = device, 0
        self.history: list[dict[str, Any]] = []
        self.rng = stream(purpose, config.seed)
        self.rngs = [self.rng]
        self.gan, self.learned = gan, learned.to(device)
        self.average = averaged(gan.generator, config.ema_decay)
        weights = [weight for weight in learned.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(weights, lr=config.generator_lr, betas=config.betas, fused=True)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"learned": self.learned, "average": self.average, "optimizer": self.optimizer}

    def noted(self) -> dict[str, Any]:
        """Nothing more than the losses."""
        return {}

    def result(self, record: dict[str, Any]) -> Mined:
        """The adapted generator behind no miner."""
        miners = nn.ModuleList([NoMiner(self.gan.generator.latent_dim)])
        generators = nn.ModuleList([self.average.module])
        return Mined([self.gan], miners, None, miners, generators, Selector(1), record, self.history)


@dataclass(frozen=True)
class Asked:
    """A call of adapt() that has been checked: what to fit, and how."""

    images: Tensor
    config: Fitting
    record: dict[str, Any]
    device: torch.device
    course: dict[str, Any]

    def fit(
        self, gan: GAN, learned: nn.Module, losses: Losses, decay: Callable[[int], float] = lambda step: 1.0
    ) -> Mined:
        """The loop: one minibatch, one update.

        gan, learned: as of Fit. losses: (indices of the minibatch (n,), its images (n, C, H, W), stream) → the terms of
        the loss. decay: step → the factor that multiplies the initial learning rate.
        """
        s, images, config = (
            Fit(gan, learned, self.config, self.device, self.record["stage"]),
            self.images.to(self.device),
            self.config,
        )
        with Course(s, self.record, **self.course) as course:
            while course.goes_on():
                pick = torch.randint(len(images), (config.batch,), generator=s.rng).to(self.device)
                with torch.autocast(self.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                    terms = losses(pick, images[pick], s.rng)
                s.optimizer.param_groups[0]["lr"] = config.generator_lr * decay(s.step)
                s.optimizer.zero_grad()
                reduce(torch.add, terms.values()).backward()
                s.optimizer.step()
                s.average.update_parameters(gan.generator)
                course.after({f"{name}_loss": loss.item() for name, loss in terms.items()})
        return s.result(self.record)


def asked(
    method: str,
    gan: GAN,
    target: FewShot | Tensor,
    own: dict[str, Any],
    *,
    paper: dict[str, Any],
    released: bool = False,
    device: str = "auto",
    **options: Any,
) -> Asked:
    """The arguments of adapt(), checked. Raises UserError.

    own: the method's, which the record keeps too. paper: the method's settings, which options replace. released:
    whether its generator learns in training mode. options: out, progress, metric and watch as in mine(), and fields of
    config.Fitting.
    """
    where = pick_device(device)
    course, options = course_of(options, default_metric(target, gan))
    config, preset = recipe(Fitting, paper, options, where)
    images = target_images(target, gan)
    check_sources([gan], released=released)
    record = describe(method, [gan], target, images, preset, config, where) | own
    return Asked(images, config, record, where, course)


def renamed(gan: GAN, method: str, generator: nn.Module, **changes: Any) -> GAN:
    """The source with another generator and no critic, called after the method."""
    return replace(gan, generator=generator, critic=None, name=f"{method} {gan.name}", **changes)
