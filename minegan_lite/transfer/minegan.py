"""MineGAN (Sec. 3.2 and 3.4): the miner first, then miner, generator and critic together."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from minegan_lite.config import Mining, Tuning
from minegan_lite.data import FewShot
from minegan_lite.errors import UserError, whole
from minegan_lite.files import SETTINGS, read_settings
from minegan_lite.gan import GAN
from minegan_lite.mined import Mined
from minegan_lite.training import finetune, mine


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
) -> Mined:
    """Both stages, with the supplement's settings, in `steps` updates together; see transfer.adapt.

    mining: the share of the steps that stage one makes; the paper gives none, so a half. out: its runs are the folders
    one and two in it. Raises UserError for a share that leaves a stage without a step.
    """
    if not isinstance(mining, int | float) or not 0 <= mining <= 1:
        raise UserError(f"mining must be a share from 0 to 1, got {mining!r}")
    first = round(whole(steps, 1, "steps") * mining)
    if not 0 < first < steps:
        raise UserError(f"mining={mining} of {steps} steps leaves a stage without any: take a share between")
    one, two = (None, None) if out is None else (Path(out) / "one", Path(out) / "two")
    if one and two and (two / SETTINGS).exists() and read_settings(one)["steps"] != first:
        raise UserError(f"{out} holds both stages of a run of other steps: repeat those, or choose another folder")
    course = ("device", "progress", "metric", "watch")
    both = {field.name for kind in (Mining, Tuning) for field in fields(kind)} - {"objective"}  # which is of several
    if strange := sorted(options.keys() - both - set(course)):
        raise UserError(f"minegan mines one source, by {', '.join(sorted(both))}: leave out {', '.join(strange)}")

    def of(kind: type) -> dict[str, Any]:
        known = {field.name for field in fields(kind)} | set(course)
        return {name: value for name, value in options.items() if name in known}

    mined = mine(gan, target, preset=preset, steps=first, seed=seed, out=one, **of(Mining))
    return finetune(mined, target, steps=steps - first, seed=seed, out=two, **of(Tuning))


def frozen(gan: GAN, **options: Any) -> set[str]:
    """None in the end: stage two releases the generator."""
    return set()
