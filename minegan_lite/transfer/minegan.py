"""MineGAN (Sec. 3.2 and 3.4): the miner first, then miner, generator and critic together."""

from pathlib import Path
from typing import Any

from torch import Tensor

from minegan_lite import runs
from minegan_lite.data import FewShot
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN
from minegan_lite.mined import MinedGAN
from minegan_lite.settings import refuse, resolve
from minegan_lite.training import OF_STAGE_TWO, SETTLED, finetune, mine
from minegan_lite.transfer.mining import OF_SEVERAL


def adapt(
    gan: GAN,
    target: FewShot | Tensor,
    *,
    steps: int,
    seed: int,
    preset: str = "paper",
    mining: float = 0.5,
    out: str | Path | None = None,
    **options: Any,
) -> MinedGAN:
    """Both stages, with the supplement's settings, in `steps` updates together; see transfer.adapt.

    mining: the share of the steps that stage one makes; the paper gives none, so a half. out: its runs are the folders
    one and two in it. Raises UserError for a share that leaves a stage without a step.
    """
    if not isinstance(mining, int | float) or not 0 <= mining <= 1:
        raise UserError(f"mining must be a share from 0 to 1, got {mining!r}")
    first = round(resolve(preset, {"steps": steps}).steps * mining)
    if not 0 < first < steps:
        raise UserError(f"mining={mining} of {steps} steps leaves a stage without any: take a share between")
    refuse(options, OF_SEVERAL, "minegan mines one source")
    one, two = (None, None) if out is None else (Path(out) / "one", Path(out) / "two")
    if two is not None and (two / runs.SETTINGS).exists() and runs.read_settings(one)["steps"] != first:
        raise UserError(f"{out} holds both stages of a run of other steps: repeat those, or choose another folder")
    earlier = {name: value for name, value in options.items() if name not in OF_STAGE_TWO}
    mined = mine(gan, target, preset=preset, steps=first, seed=seed, out=one, **earlier)
    later = {name: value for name, value in options.items() if name not in SETTLED}
    return finetune(mined, target, steps=steps - first, seed=seed, out=two, **later)


def frozen(gan: GAN, **options: Any) -> set[str]:
    """None in the end: stage two releases the generator."""
    return set()
