"""What the baselines with a critic share: stage two of MineGAN without a miner."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from minegan_lite.data import FewShot
from minegan_lite.gan import GAN
from minegan_lite.loop import Metric, Watch
from minegan_lite.mined import MinedGAN
from minegan_lite.miner import NoMiner
from minegan_lite.nn import clone
from minegan_lite.settings import Settings, check_images, describe, pick_device, refuse, resolve
from minegan_lite.stage import Stage, streams
from minegan_lite.training import default_metric

OF_MINERS = {"miner_lr", "hidden", "input_dim", "activation", "init", "spectral_norm", "objective", "critic_from"}
OF_RUNS = {"steps", "seed", "log_every", "save_every"}  # which no paper's recipe is about


def recipe(paper: dict[str, Any], options: dict[str, Any]) -> tuple[Settings, str]:
    """The settings of a method, and what its record calls them: "paper", or what of it the options replaced."""
    settings = resolve("default", paper | options)
    own = resolve("default", paper)
    changed = [name for name in sorted(options.keys() - OF_RUNS) if getattr(settings, name) != getattr(own, name)]
    return settings, "paper" + (f" but {', '.join(changed)}" if changed else "")


def train(
    method: str,
    gan: GAN,
    target: FewShot | Tensor,
    *,
    generator: nn.Module,
    critic: nn.Module | None,
    paper: dict[str, Any],
    kept: Collection[str] = (),
    out: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    metric: Metric | None = None,
    watch: Watch | None = None,
    **options: Any,
) -> MinedGAN:
    """Trains generator and critic as WGAN-GP on latents from the source's prior; all but `kept`, the critic's, moves.

    generator, critic: where they start; they are copied. paper: the method's own settings, which options replace. kept:
    names of the critic's parameters that stay. The others as in mine(); options are those of Settings that do not
    concern a miner.
    """
    refuse(options, OF_MINERS, f"{method} has no miner")
    (settings, preset), where = recipe(paper, options), pick_device(device)
    images = check_images(target, [gan], settings, critic, released=True)
    record = describe(method, [gan], False, target, images, preset, settings, where) | {"kept": sorted(kept)}
    start = replace(gan, generator=clone(generator).to(where))
    miners = nn.ModuleList([NoMiner(gan.generator.latent_dim)])
    rngs = streams(method, [gan], settings.seed)
    stage = Stage([start], miners, critic, True, settings, rngs, where, kept)
    return stage.train(images, record, out, progress, metric or default_metric(target, gan), watch)
