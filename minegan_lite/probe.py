"""What a source must offer, tried out before anything is written: its generator, its prior and its critic."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minegan_lite.data import FewShot
from minegan_lite.data.images import checked_images
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, StandardNormal, classes_of, in_class_space
from minegan_lite.networks.plain import PlainCritic
from minegan_lite.nn import clone, frozen, still, unwrapped

DECLARED = {
    "latent_dim": "the length of z, as 128",
    "image_shape": "what it draws, as (3, 64, 64)",
    "embedding_dim": "None for one without classes",
}
SEVERAL = 64  # numbers in a few images from which on it means something that none lies below 0
SAME = 1e-2  # of the largest number: two passes of the same input may differ by rounding, not by more


def declared(gan: Any) -> GAN:
    """The GAN, out of DataParallel, which hides attributes, if it is one and says what it must. Raises UserError."""
    if isinstance(gan, nn.Module):
        raise UserError(
            f"a source must be a GAN, got a {type(gan).__name__}: give GAN.wrap(generator, critic, latent_dim=…)"
        )
    if not isinstance(gan, GAN):
        raise UserError(f"a source must be a GAN, got a {type(gan).__name__}")
    if not isinstance(gan.name, str):
        raise UserError(f"a GAN's name must be a string, got {gan.name!r}")
    if not isinstance(gan.generator, nn.Module):
        raise UserError(f"the generator of {gan.name} must be an nn.Module, got {_told(gan.generator)}")
    if isinstance(gan.generator, nn.DataParallel | nn.parallel.DistributedDataParallel):
        gan = replace(gan, generator=unwrapped(gan.generator))
    generator = gan.generator
    names = (*DECLARED, "classes") if getattr(generator, "embedding_dim", None) is not None else DECLARED
    if missing := [name for name in names if not hasattr(generator, name)]:
        name = missing[0]
        raise UserError(
            f"the generator of {gan.name} has no {', '.join(missing)}: set generator.{name}, "
            f"{DECLARED.get(name, 'what its classes are called')}"
        )
    if not _whole(generator.latent_dim):
        raise UserError(f"latent_dim of {gan.name} must be a whole number of at least 1, is {generator.latent_dim!r}")
    shape = generator.image_shape
    if not isinstance(shape, list | tuple) or len(shape) != 3 or not all(map(_whole, shape)):
        raise UserError(f"image_shape of {gan.name} must be channels, height and width, is {shape!r}")
    return gan


def sources_of(gan: GAN | Sequence[GAN]) -> list[GAN]:
    """The unconditional sources of what mine() takes: one GAN, or several of any kind.

    A conditional one that says that its classes are `one_hot` is as many sources as it has classes (supplement A); one
    whose classes are embedded is a single source, in its class space (Sec. 3.3). Raises UserError for none, for
    anything but GANs, and for sources that draw images of different shapes.
    """
    given: list[Any] = list(gan) if isinstance(gan, list | tuple) else [gan]
    if not given:
        raise UserError("no source to mine: give a GAN, or a list of at least one")
    sources: list[GAN] = []
    for one in [declared(one) for one in given]:
        if one.generator.embedding_dim is None:
            sources.append(one)
        else:
            sources += classes_of(one) if getattr(one.generator, "one_hot", False) else [in_class_space(one)]
    first, *others = [(one.name, tuple(one.generator.image_shape)) for one in sources]
    for name, shape in others:
        if shape != first[1]:
            raise UserError(
                f"the sources draw images of different shapes: {first[0]} {first[1]}, {name} {shape}; mine them one by "
                "one, or resize inside the generator"
            )
    return sources


def critic_like(sources: Sequence[GAN], place: int | None) -> nn.Module:
    """A network like the critic of the source at a place, untouched; None: one for images whose sources have none."""
    if place is not None:
        return clone(sources[place].critic)
    with torch.random.fork_rng(devices=[]):
        return PlainCritic(tuple(sources[0].generator.image_shape))


def with_generators(sources: Sequence[GAN], generators: nn.ModuleList) -> list[GAN]:
    """The sources with other generators in their places."""
    return [replace(source, generator=own) for source, own in zip(sources, generators, strict=True)]


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


def check_sources(sources: Sequence[GAN], *, released: bool = False) -> None:
    """Draws from each prior and each generator, once where sources share it. Raises UserError, or warns, in one line.

    released: whether the generators are to be trained, so that they are tried in training mode, too.
    """
    tried = set()
    for gan in sources:
        z = _latents(gan)
        weights = frozenset(id(weight) for weight in gan.generator.parameters()) or id(gan.generator)
        if weights not in tried:
            _check_generator(gan, z, released)
            tried.add(weights)


def check_miners(config: Any, sources: Sequence[GAN]) -> None:
    """Whether these sources can have a miner as a config.Mining says. Raises UserError for one that cannot."""
    for gan in sources:
        prior = getattr(gan.generator, "z_prior", gan.prior)  # a ClassSpace's prior of z alone
        if config.shell and not isinstance(prior, StandardNormal):
            raise UserError(
                f"a shell is for latents of N(0, I), and {gan.name} draws its own from {prior!r:.60}: mine z"
            )
        length = getattr(gan.generator, "sizes", (gan.generator.latent_dim,))[0]
        if config.residual and config.input_dim not in (None, length):
            raise UserError(f"a residual miner adds to u: leave out input_dim, or give {length}, as long as z")


def check_critic(critic: nn.Module, image_shape: Sequence[int], name: str) -> None:
    """Shows two images to a critic. Raises UserError, or warns, in one line; `name` is the GAN's."""
    whose, shape = f"the critic of {name}", tuple(image_shape)
    if not isinstance(critic, nn.Module):
        raise UserError(f"{whose} must be an nn.Module, got {_told(critic)}")
    critic = unwrapped(critic)
    if next(critic.parameters(), None) is None:
        raise UserError(f"{whose} has no parameters to train")
    _check_weights(critic, whose)
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x = x.to(next(critic.parameters()).device).requires_grad_()
    with frozen(critic), torch.enable_grad():
        scores = _called(lambda: critic(x), f"{whose} cannot judge images {shape}")
        if not isinstance(scores, Tensor) or scores.shape != (2, 1):
            raise UserError(f"{whose} must give scores (n, 1), gives {_told(scores)} for n = 2")
        if not scores.requires_grad:
            raise UserError(f"{whose} gives scores without a gradient: nothing can learn from them")
        if not scores.isfinite().all():
            raise UserError(f"{whose} gives scores that are NaN or infinite")
        critic.train()
        if _draws_numbers(critic, x):
            warnings.warn(
                f"{whose} draws random numbers of its own, as dropout does: no run of it can be repeated, or resumed, "
                "bit for bit",
                stacklevel=2,
            )


def _latents(gan: GAN) -> Tensor:
    """Two draws of the prior."""
    whose, length = f"the prior of {gan.name}", gan.generator.latent_dim
    if not callable(gan.prior):
        raise UserError(f"{whose} must be a function of (n, rng), such as StandardNormal({length}), got {gan.prior!r}")

    def drawn() -> Tensor:
        rng = torch.Generator().manual_seed(0)
        return _called(lambda: gan.prior(2, rng), f"{whose} cannot be called as prior(n, rng)")

    z = drawn()
    if not isinstance(z, Tensor) or z.shape != (2, length) or z.dtype != torch.float32:
        raise UserError(f"{whose} must draw float32 latents (n, {length}), draws {_told(z)} for n = 2")
    if not z.isfinite().all():
        raise UserError(f"{whose} draws latents that are NaN or infinite")
    if not torch.equal(z, drawn()):
        raise UserError(
            f"{whose} draws other latents for the same rng: draw with what it is given, torch.randn(…, generator=rng)"
        )
    return z


def _check_generator(gan: GAN, z: Tensor, released: bool) -> None:
    generator, whose = gan.generator, f"the generator of {gan.name}"
    shape = tuple(generator.image_shape)
    _check_weights(generator, whose)
    z = z.to(next(generator.parameters(), z).device).requires_grad_()
    with frozen(generator), torch.enable_grad():
        images = _called(lambda: generator(z), f"{whose} draws nothing from z {tuple(z.shape)}", lambda: _hint(gan, z))
        if not isinstance(images, Tensor):
            raise UserError(f"{whose} must return images alone, returns {_told(images)}")
        if images.shape != (2, *shape):
            raise UserError(
                f"{whose} draws {tuple(images.shape)} for n = 2, image_shape says {shape}: correct one of them"
            )
        if images.dtype != torch.float32:
            raise UserError(f"{whose} must draw float32 images, nominally in [-1, 1], draws {_told(images)}")
        if not images.requires_grad:
            raise UserError(
                f"{whose} draws images without a gradient to z: take detach(), no_grad() or NumPy out of its forward"
            )
        if not images.isfinite().all():
            raise UserError(f"{whose} draws images that are NaN or infinite")
        if images.numel() >= SEVERAL and images.min() >= 0:
            scale = "images / 127.5 - 1" if images.max() > 2 else "2 * images - 1"
            warnings.warn(
                f"{whose} draws nothing below 0, up to {images.max().item():.3g}: here images lie in [-1, 1], let its "
                f"forward return {scale}",
                stacklevel=2,
            )
        for training in (False, True) if released else (False,):
            generator.train(training)
            if _draws_numbers(generator, z):
                raise UserError(
                    f"{whose} draws random numbers of its own{' in training mode' if training else ''}: two calls with "
                    "one z differ. Make its noise constant, or take its dropout out"
                )


def _check_weights(network: nn.Module, whose: str) -> None:
    for weight in network.parameters():
        if weight.is_meta:
            raise UserError(f"{whose} has weights on the meta device, which holds none: load them first")
        if weight.dtype != torch.float32:
            raise UserError(f"{whose} has weights of {weight.dtype}, float32 is needed: call .float() on it")
        if not weight.isfinite().all():
            raise UserError(f"{whose} has weights that are NaN or infinite: load it again")


@torch.no_grad()
def _draws_numbers(network: nn.Module, x: Tensor) -> bool:
    """Whether two calls with one input differ, each from the same buffers."""
    outputs = []
    for _ in range(2):
        with still(network):
            outputs.append(network(x))
    return bool((outputs[0] - outputs[1]).abs().max() > SAME * outputs[0].abs().max())


def _hint(gan: GAN, z: Tensor) -> str:
    """What may be wrong with a generator that does not take z (n, d)."""
    try:
        gan.generator(z[:, :, None, None])
    except Exception:
        return ""
    return f"; it takes z as (n, {z.shape[1]}, 1, 1): let its forward begin with z = z[:, :, None, None]"


def _called(call: Callable[[], Any], trouble: str, hint: Callable[[], str] = lambda: "") -> Any:
    """What a call of a stranger's code gives; UserError for whatever it raises, but for want of memory."""
    try:
        return call()
    except torch.OutOfMemoryError:
        raise
    except UserError as error:
        raise UserError(f"{trouble}: {error}") from None
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{trouble}: {said}{hint()}") from None


def _told(value: Any) -> str:
    return f"{tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
