"""What can be set: a record for each kind of training, a comment beside each value, and presets by the GAN's family."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import Any, ClassVar

import torch

from minegan_lite.errors import UserError, whole
from minegan_lite.losses import LOSSES
from minegan_lite.miner import ACTIVATIONS, INITS
from minegan_lite.nn import DECAY, native_bf16

OBJECTIVES = ("max", "mean")
PRECISIONS = ("auto", "32", "bf16")


@dataclass(frozen=True)
class Training:
    """What every training has."""

    steps: int = 600  # updates of what draws the images
    seed: int = 0  # of every random draw
    batch: int = 64  # images in a minibatch
    # "bf16": networks under bfloat16 autocast, weights and losses in float32; "auto": that where the device has it
    precision: str = "auto"
    betas: tuple[float, float] = (0.5, 0.9)  # Adam's
    ema_decay: float = DECAY  # of the averaged weights (nn.averaged)
    sample_average: bool = True  # whether sample() takes the averaged weights unless it is told
    log_every: int = 50  # steps between entries of the history
    save_every: int = 100  # steps between checkpoints
    alone: ClassVar[str] = "a training has nothing else"  # why options of other kinds are refused


@dataclass(frozen=True)
class Fitting(Training):
    """A generator fitted without a critic (transfer/bsa.py, transfer/vae.py)."""

    generator_lr: float = 1e-4
    alone: ClassVar[str] = "this method has neither miner nor critic"


@dataclass(frozen=True)
class Adversarial(Training):
    """Against a critic; alone, what critics.teach_critic takes.

    The paper's Eq. 1 to 6 have the form of WGAN's loss, "wgan-gp"; "hinge", "logistic" and "logistic-r1" are those that
    other sources were trained with.
    """

    loss: str = "wgan-gp"  # a name of losses.LOSSES
    penalty: float = 10.0  # weight of the loss's penalty: λ of the gradient penalty, or γ/2 of R1
    critic_steps: int = 1  # critic updates before each update of what draws the images
    critic_lr: float = 1e-3
    alone: ClassVar[str] = "the critic is taught alone"


@dataclass(frozen=True)
class Adapting(Adversarial):
    """Generator and critic, without a miner (TransferGAN, FreezeD, Scratch)."""

    generator_lr: float = 1e-4
    alone: ClassVar[str] = "this method has no miner"


@dataclass(frozen=True)
class Tuning(Adapting):
    """Stage two: miners, generators and critic (Sec. 3.4)."""

    miner_lr: float = 1e-3
    objective: str = "max"  # of several sources: Eq. 5–6's supersamples, or "mean", supplement C's ablation
    shift_penalty: float = 0.0  # of residual miners: weight of the mean square of f(u), so that z stays near u
    alone: ClassVar[str] = "stage two goes on with the miners and the critic of stage one"


@dataclass(frozen=True)
class Mining(Adversarial):
    """Stage one: miners and critic; the generators stay frozen (Sec. 3.2 and 3.3).

    The default learning rates and the single critic step were chosen among six settings by digit 9 mined from an
    unfinished mnist-no-9, seed 0, judged by nines of the training split outside that run's target; most of them are
    among the targets of later runs, and none is held out. The scale-preserving init is a choice, not a winner: for
    that digit the paper's start ended lower (see the ledger).
    """

    miner_lr: float = 1e-3
    objective: str = "max"  # as in Tuning
    critic_from: int | str = 0  # the source, by its place, whose critic is where the critic starts; or "fresh"
    hidden: tuple[int, ...] | None = None  # sizes of the miner's hidden layers; None: one, as wide as the latent
    input_dim: int | None = None  # length of u; None: that of z
    activation: str = "relu"  # this and the next two: see Miner; M^z and M^c of a ConditionalMiner share them
    init: str = "scale-preserving"
    spectral_norm: bool = False
    residual: bool = False  # this and the next: see Miner
    shell: bool = False  # wants z ~ N(0, I)
    shift_penalty: float = 0.0  # as in Tuning
    alone: ClassVar[str] = "stage one trains no generator"


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Supplement A, MNIST. It states neither λ nor the critic steps: those are Gulrajani et al.'s.
    "paper": {"miner_lr": 4e-4, "critic_lr": 4e-4, "generator_lr": 4e-4, "betas": (0.5, 0.999), "batch": 64,
              "critic_steps": 5, "penalty": 10.0, "init": "paper", "sample_average": False},
    # The released MNIST code, where it differs from the supplement.
    "official": {"miner_lr": 1e-4, "critic_lr": 1e-4, "generator_lr": 1e-4, "betas": (0.5, 0.9), "batch": 50,
                 "critic_steps": 5, "penalty": 10.0, "init": "glorot", "input_dim": 4, "sample_average": False},
    # Supplement A, Progressive GAN. Loss, λ and critic steps, which it does not state, are Karras et al. 2018's; their
    # drift term, which Eq. 3 does not have, is left out.
    "paper-progan": {"miner_lr": 1.5e-3, "critic_lr": 1.5e-3, "generator_lr": 1.5e-3, "betas": (0.0, 0.99), "batch": 4,
                     "critic_steps": 1, "loss": "wgan-gp", "penalty": 10.0, "input_dim": 8, "hidden": (64, 128, 256),
                     "activation": "relu+pixel_norm", "init": "paper", "sample_average": False},
    # Supplement A, SNGAN. Loss and critic steps, which it does not state, are Miyato et al. 2018's; the activation, not
    # stated either, is Progressive GAN's without its pixel norm.
    "paper-sngan": {"miner_lr": 2e-4, "critic_lr": 2e-4, "generator_lr": 2e-4, "betas": (0.0, 0.9), "batch": 8,
                    "critic_steps": 5, "loss": "hinge", "penalty": 0.0, "input_dim": 8, "hidden": (32, 64),
                    "activation": "relu", "init": "paper", "sample_average": False},
    # Supplement A, BigGAN, all five layers of each list. The loss, not stated, is Brock et al. 2019's; the critic step,
    # not stated, the released code's; the activation as for SNGAN.
    "paper-biggan": {"miner_lr": 1e-4, "critic_lr": 4e-4, "generator_lr": 1e-4, "betas": (0.0, 0.999), "batch": 256,
                     "critic_steps": 1, "loss": "hinge", "penalty": 0.0, "input_dim": 128,
                     "hidden": (128, 128, 128, 128), "activation": "relu", "init": "paper", "sample_average": False},
    # The released BigGAN code: affine miners. It adds up the gradients of 8 batches, which ours does not.
    "official-biggan": {"miner_lr": 1e-4, "critic_lr": 4e-4, "generator_lr": 1e-4, "betas": (0.0, 0.999), "batch": 100,
                        "critic_steps": 1, "loss": "logistic", "penalty": 0.0, "input_dim": 120,
                        "hidden": (120, 120, 120), "activation": "linear", "init": "orthogonal", "spectral_norm": True,
                        "sample_average": False},
    # The released StyleGAN code; the CVPR paper has no StyleGAN. R1's γ of 10 is halved there, as in Mescheder et al.
    # Not in ours: its schedule of learning rates, a hundredth of them for the mapping, mixing of styles.
    "official-stylegan": {"miner_lr": 2e-3, "critic_lr": 2e-3, "generator_lr": 2e-3, "betas": (0.0, 0.99), "batch": 2,
                          "critic_steps": 1, "loss": "logistic-r1", "penalty": 5.0, "input_dim": 512, "hidden": (512,),
                          "activation": "relu", "init": "pytorch"},
}  # fmt: skip

# What a GAN was trained with → the preset that mine() takes where none is named, and what is set on top of it.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "wgan-gp": ("default", {}),
    "hinge": ("default", {"loss": "hinge", "penalty": 0.0}),
    "logistic": ("default", {"loss": "logistic", "penalty": 0.0}),
    "logistic-r1": ("default", {"loss": "logistic-r1", "penalty": 5.0}),
    "progan": ("paper-progan", {}),
    "sngan": ("paper-sngan", {}),
    "biggan": ("paper-biggan", {}),
    "stylegan": ("official-stylegan", {}),
}


def resolve(
    kind: type[Training],
    preset: str | None,
    options: dict[str, Any],
    family: str = "wgan-gp",
    device: torch.device | None = None,
) -> Any:
    """The configuration of a kind of training with options replaced, checked.

    preset: None takes the family's. device: where it will run, which settles a precision that is "auto".
    Raises UserError for unknown names, options that the kind would have no use for,
    and senseless values.
    """
    if family not in FAMILIES:
        raise UserError(f"unknown family {family!r} of a GAN: one of {', '.join(FAMILIES)}")
    chosen, own = FAMILIES[family] if preset is None else (preset, {})
    if chosen not in PRESETS:
        raise UserError(f"unknown preset {chosen!r}: one of {', '.join(PRESETS)}")
    known = [field.name for field in fields(kind)]
    if strange := sorted(options.keys() - set(known)):
        elsewhere = {field.name for other in (Fitting, Tuning, Mining) for field in fields(other)}
        if meaningless := [name for name in strange if name in elsewhere]:
            raise UserError(f"{kind.alone}: leave out {', '.join(meaningless)}")
        raise UserError(f"unknown option {strange[0]!r}: one of {', '.join(known)}")
    of_preset = {name: value for name, value in (PRESETS[chosen] | own).items() if name in known}
    config = checked(kind(**of_preset | options))
    if device is None or config.precision != "auto":
        return config
    return replace(config, precision="bf16" if native_bf16(device) else "32")


def refuse_useless(options: dict[str, Any], sources: int) -> None:
    """Raises UserError for an option that so many sources have no use for."""
    if sources == 1 and "objective" in options:
        raise UserError("the objective is how several sources compete, and there is only one: leave out objective")


def said(config: Adversarial, preset: str, family: str) -> str:
    """What mine() says of its configuration, in one line."""
    rates = ", ".join(f"{name.removesuffix('_lr')} {value:g}" for name, value in vars(config).items() if "_lr" in name)
    return f"preset {preset} (family {family}): {config.loss} loss, learning rates {rates}, batch {config.batch}"


def checked(config: Training) -> Any:
    """The same with plain numbers and tuples, which JSON can hold. Raises UserError for a senseless value."""
    values = vars(config).copy()

    def need(ok: bool, name: str, what: str) -> None:
        if not ok:
            raise UserError(f"{name} must be {what}, got {values[name]!r}")

    def one_of(name: str, known: Sequence[str]) -> None:
        need(isinstance(values[name], str) and values[name] in known, name, f"one of {', '.join(known)}")

    for name, value in values.items():
        if name in ("steps", "batch", "critic_steps", "log_every", "save_every", "input_dim"):
            values[name] = value if value is None and name == "input_dim" else whole(value, 1, name)
        elif name == "seed":
            values[name] = whole(value, 0, name)
        elif name.endswith("_lr"):
            need(_finite(value) and value > 0, name, "a positive number")
            values[name] = _plain(value)
        elif name in ("penalty", "shift_penalty"):
            need(_finite(value) and value >= 0, name, "a number of at least 0")
            values[name] = _plain(value)
        elif name == "ema_decay":
            need(_finite(value) and 0 <= value < 1, name, "a number from 0 up to 1")
            values[name] = _plain(value)
        elif name in ("spectral_norm", "sample_average", "residual", "shell"):
            need(isinstance(value, bool), name, "True or False")
        elif name == "betas":
            pair = isinstance(value, list | tuple) and len(value) == 2 and all(_finite(b) and 0 <= b < 1 for b in value)
            need(pair, name, "two numbers from 0 up to 1")
            values[name] = tuple(map(_plain, value))
        elif name == "hidden" and value is not None:
            need(isinstance(value, list | tuple), name, "a list of whole numbers, as (128,), or None")
            values[name] = tuple(whole(n, 1, "hidden: each number") for n in value)
        elif name == "critic_from" and value != "fresh":
            need(not isinstance(value, str), name, "the place of a source, from 0 on, or 'fresh'")
            values[name] = whole(value, 0, name)
    for name, known in (
        ("precision", PRECISIONS), ("loss", tuple(LOSSES)), ("objective", OBJECTIVES), ("init", tuple(INITS)),
        ("activation", tuple(ACTIVATIONS)),
    ):  # fmt: skip
        if name in values:
            one_of(name, known)
    if values.get("residual") and values["spectral_norm"]:
        raise UserError("a residual miner starts at zero, by which spectral norm cannot divide: choose one of them")
    if isinstance(config, Mining) and values["shift_penalty"] and not values["residual"]:
        raise UserError("shift_penalty keeps a residual miner near u: set residual=True with it")
    return type(config)(**values)


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Any) -> int | float:
    """A number of NumPy's, or such, as Python's own, which JSON can hold."""
    return value if type(value) in (int, float) else float(value)
