"""Anyone's generator and critic behind this library's interface (gan.Generator, gan.Critic)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minegan_lite.errors import UserError, whole
from minegan_lite.gan import GAN, Prior, StandardNormal
from minegan_lite.nn import clone, device_of, frozen, unwrapped

LENGTHS = ("latent_dim", "z_dim", "dim_z", "nz", "latent_size")  # what others call the length of z


class Wrapped(nn.Module):
    """A generator of another convention: z as maps, images in another range, class numbers instead of embeddings.

    maps: whether it takes z as (n, d, 1, 1). image_range: its (lowest, highest) pixel. classes: their names, empty for
    an unconditional one; it is called generator(z, labels) then, and `embed` gives one-hot rows.
    """

    one_hot = True

    def __init__(self, generator: nn.Module, latent_dim: int, maps: bool, image_range: tuple, classes: Sequence[str]):
        super().__init__()
        self.generator, self.latent_dim, self.maps, self.classes = generator, latent_dim, maps, list(classes)
        self.low, self.high = image_range
        self.embedding_dim = len(self.classes) or None
        self.image_shape: tuple[int, ...] = ()

    def embed(self, labels: Tensor) -> Tensor:
        """Class numbers (n,) → one-hot rows (n, embedding_dim)."""
        return F.one_hot(labels, len(self.classes)).float()

    def forward(self, z: Tensor, *embedding: Tensor) -> Tensor:
        labels = [one.argmax(1) for one in embedding]
        images = self.generator(z[:, :, None, None] if self.maps else z, *labels)
        return images if (self.low, self.high) == (-1, 1) else 2 * (images - self.low) / (self.high - self.low) - 1


class WrappedCritic(nn.Module):
    """A critic of another convention: other pixels, scores of another shape, probabilities instead of scores.

    sigmoid: whether it ends in one; its logit is the score then. Scores of several places of an image are averaged.
    """

    def __init__(self, critic: nn.Module, image_range: tuple, sigmoid: bool):
        super().__init__()
        self.critic, self.sigmoid = critic, sigmoid
        self.low, self.high = image_range

    def forward(self, x: Tensor) -> Tensor:
        if (self.low, self.high) != (-1, 1):
            x = self.low + (self.high - self.low) * (x + 1) / 2
        scores = self.critic(x).reshape(len(x), -1)  # (n, places)
        if self.sigmoid:
            scores = torch.logit(scores.float(), eps=1e-6)
        return scores.mean(1, keepdim=True)  # (n, 1)


def wrap(
    generator: nn.Module,
    critic: nn.Module | None = None,
    *,
    latent_dim: int | None = None,
    image_range: tuple[float, float] = (-1.0, 1.0),
    classes: int | Sequence[str] = (),
    prior: Prior | None = None,
    family: str | None = None,
    name: str = "own",
) -> GAN:
    """Any generator, and its critic, as a GAN.

    generator: an nn.Module; called with z as (n, d) or (n, d, 1, 1), whichever it takes, and with class numbers (n,)
        where it has classes. Both networks may lie on any device, in torch.compile or DataParallel, which are taken
        off, or have another precision, of which a float32 copy is made.
    critic: scores of any shape, one or more an image, or probabilities behind a final nn.Sigmoid. None: mine() starts
        with a fresh one, or teach_critic() teaches one first.
    latent_dim: d; None reads the generator's own attribute, where it has one. image_range: the pixels it was trained
        on, its lowest and highest. classes: how many, or their names. prior: of z, by default N(0, I).
    family: what it was trained with, a key of config.FAMILIES; by default "logistic" for a critic with a final sigmoid,
        else "wgan-gp". name: what results and messages call it.
    Raises UserError, in one line, for what is missing or of another shape.
    """
    whose = f"the generator of {name}"
    if not isinstance(generator, nn.Module):
        raise UserError(f"{whose} must be an nn.Module, got a {type(generator).__name__}")
    generator = _single(generator)
    if latent_dim is None:
        latent_dim = next((getattr(generator, own) for own in LENGTHS if hasattr(generator, own)), None)
        if latent_dim is None:
            raise UserError(f"{whose} does not say how long z is: give it, as in GAN.wrap(G, D, latent_dim=100)")
    latent_dim = whole(latent_dim, 1, "latent_dim")
    low, high = _range(image_range)
    names = [str(i) for i in range(classes)] if isinstance(classes, int) else [str(one) for one in classes]
    maps, image_shape = _tried(generator, latent_dim, bool(names), whose)
    wrapped = Wrapped(generator, latent_dim, maps, (low, high), names)
    wrapped.image_shape = image_shape
    judge, sigmoid = None, False
    if critic is not None:
        if not isinstance(critic, nn.Module):
            raise UserError(f"the critic of {name} must be an nn.Module, got a {type(critic).__name__}")
        critic = _single(critic)
        leaves = [part for part in critic.modules() if not list(part.children())]
        sigmoid = isinstance(leaves[-1], nn.Sigmoid)
        judge = WrappedCritic(critic, (low, high), sigmoid)
    return GAN(
        wrapped, judge, prior or StandardNormal(latent_dim), name, family or ("logistic" if sigmoid else "wgan-gp")
    )


def _single(network: nn.Module) -> nn.Module:
    """The network out of its wrappers, in float32: itself, or a copy of one of another precision."""
    network = unwrapped(network)
    if all(weight.dtype == torch.float32 for weight in network.parameters()):
        return network
    return clone(network).float()


def _range(image_range: Any) -> tuple[float, float]:
    try:
        low, high = map(float, image_range)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise UserError(f"image_range must be the lowest and the highest pixel, as (0, 1), got {image_range!r}")
    return low, high


def _tried(generator: nn.Module, latent_dim: int, by_class: bool, whose: str) -> tuple[bool, tuple[int, int, int]]:
    """Whether a generator takes z as (n, d, 1, 1), and the shape of its images."""
    z = torch.randn(2, latent_dim, generator=torch.Generator().manual_seed(0)).to(device_of(generator))
    labels = [torch.zeros(2, dtype=torch.int64, device=z.device)] * by_class
    calls: dict[bool, Callable] = {
        False: lambda: generator(z, *labels),
        True: lambda: generator(z[..., None, None], *labels),
    }
    trouble = ""
    for maps, call in calls.items():
        try:
            with frozen(generator), torch.no_grad():
                images = call()
        except Exception as error:  # a stranger's code may raise anything
            trouble = trouble or (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            continue
        if isinstance(images, Tensor) and images.ndim == 4 and len(images) == 2:
            channels, height, width = images.shape[1:]
            return maps, (channels, height, width)
        got = tuple(images.shape) if isinstance(images, Tensor) else f"a {type(images).__name__}"
        trouble = f"it gives {got} for n = 2, and images are (2, C, H, W)"
    shapes = f"(2, {latent_dim}) or (2, {latent_dim}, 1, 1)" + (" with class numbers (2,)" if by_class else "")
    raise UserError(f"{whose} draws no images from z {shapes}: {trouble}")
