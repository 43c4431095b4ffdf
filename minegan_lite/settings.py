"""Settings, presets, and the checks before the first step: what is wrong is said before anything is written."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite import runs
from minegan_lite.data import FewShot
from minegan_lite.data.images import checked_images
from minegan_lite.ema import DECAY
from minegan_lite.errors import UserError
from minegan_lite.family import OBJECTIVES
from minegan_lite.gan import GAN
from minegan_lite.mined import whole
from minegan_lite.miner import ACTIVATIONS, INITS
from minegan_lite.objectives import LOSSES
from minegan_lite.probe import check_critic, check_sources

PRECISIONS = ("32", "bf16")


@dataclass(frozen=True)
class Settings:
    """How a stage is trained; presets replace some of the defaults.

    The default learning rates and the single critic step were chosen among six settings by digit 9 mined from an
    unfinished mnist-no-9, seed 0, judged by training-split nines outside the target: no held-out image was looked at.
    The scale-preserving init is a choice, not a winner: for that digit the paper's start ended lower (see the ledger).

    steps: miner updates. batch: images in a minibatch. critic_steps: critic updates before each miner update.
    loss: a name from objectives.LOSSES. The paper's Eq. 1 to 6 have WGAN's form, "wgan-gp"; "hinge", "logistic" and
        "logistic-r1" are those that other sources were trained with.
    penalty: weight of the loss's penalty, λ of the gradient penalty or γ/2 of R1; of no effect on one without.
    precision: "32", or "bf16" for networks under bfloat16 autocast, with weights and losses in float32: about twice
        as fast on a CPU that has AMX or AVX-512 instructions for it, and slower on others.
    miner_lr, critic_lr, generator_lr (stage two), betas: Adam's.
    hidden: sizes of the miner's hidden layers, None for one as wide as the latent. input_dim: length of u, None for
        that of z. activation, init, spectral_norm: see Miner. Of a ConditionalMiner they hold for M^z and M^c alike.
    objective: of several sources, "max" (Eq. 5 and 6: a supersample's winner is all that is looked at) or "mean"
        (supplement C's ablation). critic_from: the source, by its place, whose critic is where the critic starts, or
        "fresh" for new weights.
    ema_decay: of the averaged weights (ema.py). sample_average: whether
    sample() takes them by default.
    log_every, save_every: steps between entries of the history and between checkpoints.
    """

    steps: int = 600
    seed: int = 0
    batch: int = 64
    critic_steps: int = 1
    loss: str = "wgan-gp"
    penalty: float = 10.0
    precision: str = "32"
    miner_lr: float = 1e-3
    critic_lr: float = 1e-3
    generator_lr: float = 1e-4
    betas: tuple[float, float] = (0.5, 0.9)
    hidden: tuple[int, ...] | None = None
    input_dim: int | None = None
    activation: str = "relu"
    init: str = "scale-preserving"
    spectral_norm: bool = False
    objective: str = "max"
    critic_from: int | str = 0
    ema_decay: float = DECAY
    sample_average: bool = True
    log_every: int = 50
    save_every: int = 100


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


def resolve(preset: str, options: dict[str, Any]) -> Settings:
    """Settings of a preset with options replaced. Raises UserError for unknown names and senseless values."""
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}: one of {', '.join(PRESETS)}")
    unknown = options.keys() - Settings.__dataclass_fields__.keys()
    if unknown:
        raise UserError(f"unknown option {sorted(unknown)[0]!r}: one of {', '.join(Settings.__dataclass_fields__)}")
    settings = Settings(**{**PRESETS[preset], **options})

    def need(ok: bool, name: str, what: str) -> None:
        if not ok:
            raise UserError(f"{name} must be {what}, got {getattr(settings, name)!r}")

    numbers = {
        name: whole(getattr(settings, name), 1, name)
        for name in ("steps", "batch", "critic_steps", "log_every", "save_every")
    }
    numbers["seed"] = whole(settings.seed, 0, "seed")
    for name in ("miner_lr", "critic_lr", "generator_lr"):
        need(_finite(getattr(settings, name)) and getattr(settings, name) > 0, name, "a positive number")
    need(_finite(settings.penalty) and settings.penalty >= 0, "penalty", "a number of at least 0")
    need(settings.loss in LOSSES, "loss", f"one of {', '.join(LOSSES)}")
    for name in ("spectral_norm", "sample_average"):
        need(isinstance(getattr(settings, name), bool), name, "True or False")
    need(settings.precision in PRECISIONS, "precision", f"one of {', '.join(PRECISIONS)}")
    betas = settings.betas
    pair = isinstance(betas, list | tuple) and len(betas) == 2 and all(_finite(b) and 0 <= b < 1 for b in betas)
    need(pair, "betas", "two numbers from 0 up to 1")
    need(_finite(settings.ema_decay) and 0 <= settings.ema_decay < 1, "ema_decay", "a number from 0 up to 1")
    for name in ("penalty", "miner_lr", "critic_lr", "generator_lr", "ema_decay"):
        numbers[name] = _plain(getattr(settings, name))
    numbers["betas"] = tuple(map(_plain, betas))
    if settings.input_dim is not None:
        numbers["input_dim"] = whole(settings.input_dim, 1, "input_dim")
    if settings.hidden is not None:
        need(isinstance(settings.hidden, list | tuple), "hidden", "a list of whole numbers, as (128,), or None")
        numbers["hidden"] = tuple(whole(n, 1, "hidden: each number") for n in settings.hidden)
    need(settings.objective in OBJECTIVES, "objective", f"one of {', '.join(OBJECTIVES)}")
    if settings.critic_from != "fresh":
        need(not isinstance(settings.critic_from, str), "critic_from", "the place of a source, from 0 on, or 'fresh'")
        numbers["critic_from"] = whole(settings.critic_from, 0, "critic_from")
    if settings.init not in INITS or settings.activation not in ACTIVATIONS:
        raise UserError(
            f"unknown init {settings.init!r} or activation {settings.activation!r}: "
            f"inits are {', '.join(INITS)}; activations {', '.join(ACTIVATIONS)}"
        )
    return replace(settings, **numbers)


def refuse(options: dict[str, Any], meaningless: Collection[str], why: str) -> None:
    """Raises UserError for options that would be ignored, in a line that names them all; `why` begins it."""
    if strange := sorted(options.keys() & set(meaningless)):
        raise UserError(f"{why}: leave out {', '.join(strange)}")


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _plain(value: Real) -> int | float:
    """A number of NumPy's, or such, as Python's own, which JSON can hold."""
    return value if type(value) in (int, float) else float(value)


def pick_device(device: str) -> torch.device:
    """ "auto" → cuda, then mps, then cpu. Raises UserError for a device that is not there, or holds no numbers."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        where = torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:  # torch built without CUDA asserts
        raise UserError(f"device {device!r} cannot be used: {str(error).splitlines()[0][:200]}") from None
    if where.type == "meta":
        raise UserError("device 'meta' cannot be used: it holds no numbers")
    return where


def target_images(target: FewShot | Tensor, gan: GAN) -> Tensor:
    """The target's training images (n, C, H, W), checked to be some that the source could draw. Raises UserError.

    float32 in [−1, 1]: uint8 is converted, floats beyond by rounding are clamped, and ones without any below 0 warn.
    """
    images, shape = target.train if isinstance(target, FewShot) else target, tuple(gan.generator.image_shape)
    if not isinstance(images, Tensor) or images.ndim != 4:
        raise UserError("the target must be a few_shot result or a tensor of images (n, C, H, W)")
    if tuple(images.shape[1:]) != shape:
        raise UserError(
            f"the target's images are {tuple(images.shape[1:])}, {gan.name} draws {shape}: resize them first"
        )
    if len(images) < 2:
        raise UserError(f"mining needs at least 2 images, got {len(images)}")
    return checked_images(images, "the target's images")


def check_images(
    target: FewShot | Tensor,
    sources: Sequence[GAN],
    settings: Settings,
    critic: nn.Module | None = None,
    *,
    released: bool = False,
) -> Tensor:
    """The target's training images (n, C, H, W), after every check that needs no training. Raises UserError.

    critic: the one to start from, None for what settings.critic_from says. released: whether generators are trained.
    """
    judge = sources[0]
    if critic is None:
        if settings.critic_from != "fresh":
            if settings.critic_from >= len(sources):
                raise UserError(
                    f"critic_from is {settings.critic_from}, there are {len(sources)} source(s): the first is 0"
                )
            judge = sources[settings.critic_from]
        critic = judge.critic
    if critic is None:
        raise UserError(f"{judge.name} has no critic to start from: give one as GAN(generator, critic, prior, name)")
    images = target_images(target, sources[0])
    check_sources(sources, released=released)
    check_critic(critic, sources[0].generator.image_shape, judge.name)
    return images


def describe(
    stage: str,
    sources: Sequence[GAN],
    family: bool,
    target: FewShot | Tensor,
    images: Tensor,
    preset: str,
    settings: Settings,
    device: torch.device,
) -> dict[str, Any]:
    """Everything that the result depends on, JSON-ready: what run.json holds and a resumed run must repeat.

    "source" is a name, or for a family the list of them.
    """
    request = target.request if isinstance(target, FewShot) else None
    return {
        "stage": stage, "source": [one.name for one in sources] if family else sources[0].name,
        "source_request": [one.request for one in sources] if any(one.request for one in sources) else None,
        "source_sha256": runs.sources_fingerprint(sources),
        "target": target.name if isinstance(target, FewShot) else "tensor", "target_request": request,
        "target_sha256": runs.fingerprint(images), "images": len(images), "device": device.type, "preset": preset,
        **asdict(settings),
    }  # fmt: skip
