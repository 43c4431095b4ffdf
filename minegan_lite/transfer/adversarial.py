"""What the baselines with a critic share: stage two of MineGAN without a miner."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.config import Adapting, Training, resolve
from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.miner import NoMiner
from minegan_lite.nn import pick_device
from minegan_lite.probe import check_critic, check_sources, target_images
from minegan_lite.runs import course_of
from minegan_lite.training import State, default_metric, describe
from minegan_lite.training import train as train_on

OF_RUNS = {"steps", "seed", "log_every", "save_every"}  # which no paper's recipe is about


def recipe(
    kind: type[Training], paper: dict[str, Any], options: dict[str, Any], device: torch.device
) -> tuple[Any, str]:
    """The configuration of a method, and what its record calls it: "paper", or what of it the options replaced."""
    config = resolve(kind, "default", paper | options, device=device)
    own = resolve(kind, "default", paper, device=device)
    changed = [name for name in sorted(options.keys() - OF_RUNS) if getattr(config, name) != getattr(own, name)]
    return config, "paper" + (f" but {', '.join(changed)}" if changed else "")


def train(
    method: str,
    gan: GAN,
    target: FewShot | Tensor,
    *,
    generator: nn.Module,
    critic: nn.Module | None,
    paper: dict[str, Any],
    kept: Collection[str] = (),
    device: str = "auto",
    **options: Any,
) -> Mined:
    """Trains generator and critic as WGAN-GP on latents from the source's prior; all but `kept`, the critic's, moves.

    generator, critic: where they start; they are copied. paper: the method's own settings, which options replace. kept:
    names of the critic's parameters that stay. options: out, progress, metric and watch as in mine(), and fields of
    config.Adapting.
    """
    where = pick_device(device)
    course, options = course_of(options, default_metric(target, gan))
    config, preset = recipe(Adapting, paper, options, where)
    if critic is None:
        raise UserError(f"{gan.name} has no critic to start from: teach one, teach_critic(gan, images)")
    images = target_images(target, gan)
    check_sources([gan], released=True)
    check_critic(critic, gan.generator.image_shape, gan.name)
    record = describe(method, [gan], target, images, preset, config, where) | {"kept": sorted(kept)}
    start, miners = replace(gan, generator=generator), [NoMiner(gan.generator.latent_dim)]
    state = State(config, [start], critic, where, purpose=method, miners=miners, released=True, kept=kept)
    return train_on(state, images, record, **course)
