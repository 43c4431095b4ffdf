"""MineGAN without fine-tuning (Sec. 3.2): stage one alone, the source stays as it is."""

from typing import Any

from torch import Tensor

from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.training import mine


def adapt(gan: GAN, target: FewShot | Tensor, *, preset: str = "paper", **options: Any) -> Mined:
    """mine() with the supplement's settings; see transfer.adapt."""
    if "objective" in options:
        raise UserError("minegan-nofinetune mines one source: leave out objective")
    return mine(gan, target, preset=preset, **options)


def frozen(gan: GAN, **options: Any) -> set[str]:
    """The whole generator."""
    return {f"generator.{name}" for name, _ in gan.generator.named_parameters()}
